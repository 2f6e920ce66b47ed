"""What the output of a task is written with: its parts, and the modality of every column. Imports no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mmkit.spec.load import Location
from mmkit.spec.schema import Task
from mmkit.spec.template import Literal, Slot
from mmkit.wiring.graph import Placed


@dataclass(frozen=True)
class OutputColumns:
    """The output of one task.

    Attributes:
        say: told (location, message, fix) of every problem.
        head: None where it could not be placed. at: of the task. modalities: all of the spec.
        vocabularies, continuous: those that are written as ids, as vectors.
    """

    say: Callable[[Location, str, str], None]
    task: Task
    head: Placed | None
    at: Location
    modalities: Sequence[str]
    vocabularies: Sequence[str]
    continuous: Sequence[str]

    def parts(self, parts: tuple[Literal | Slot, ...]) -> tuple[Literal | Slot, ...]:
        """One column, or several parts where a head generates them."""
        columns = [part.column for part in parts if isinstance(part, Slot)]
        if len(parts) == 1 and columns:
            return parts
        where, written = (*self.at, "output"), self.task.output
        if parts and not columns:
            self.say(where, f"the output names no column: {written!r}", "write one as {column}")
        elif parts and self.head is not None and not self.head.component.autoregressive:
            self.say(
                where,
                f"the output of head {self.head.component.name!r} is one column, got {written!r}",
                "write it as {column}; only a head that generates writes several parts",
            )
        elif len(set(columns)) < len(columns):
            self.say(where, f"the output names a column twice: {written!r}", "give the second a name")
        elif parts:
            return parts
        return ()

    def several(self, column: str) -> tuple[str, ...]:
        """The modalities of a column that has several; none of another one."""
        named = self.task.columns.get(column)
        if named is None or isinstance(named, str):
            return ()
        where = (*self.at, "columns", column)
        odd = next((name for name in named if name in self.modalities and name not in self.vocabularies), None)
        if odd is not None:
            self.say(where, f"column {column!r} cannot be generated: {odd!r} is no vocabulary", self._known)
        if self.head is not None and not self.head.component.autoregressive:
            name = self.head.component.name
            self.say(
                where,
                f"column {column!r} has several modalities, and head {name!r} writes one",
                "only a head that generates writes several",
            )
        return tuple(dict.fromkeys(named))

    @property
    def _known(self) -> str:
        return f"vocabularies: {', '.join(self.vocabularies) or 'none in this spec'}"

    def modality(self, column: str) -> str | None:
        """The modality that a column is written with, if any."""
        if self.head is None:
            return None
        given = self.task.columns.get(column, column)
        named = given if isinstance(given, str) else column
        if self.head.component.continuous:
            return self._of_vectors(named, column, self.head)
        if named in self.vocabularies:
            return named
        if len(self.vocabularies) == 1 and named not in self.modalities:
            return self.vocabularies[0]
        if self.head.component.autoregressive or self.head.component.spells:
            self.say(
                (*self.at, "output"),
                f"column {column!r} cannot be spelt by head {self.head.component.name!r}: it is not of a vocabulary modality",
                self._known,
            )
        return None

    def _of_vectors(self, named: str, column: str, head: Placed) -> str | None:
        if named in self.continuous:
            return named
        if len(self.continuous) == 1 and named not in self.modalities:
            return self.continuous[0]
        self.say(
            (*self.at, "output"),
            f"column {column!r} cannot be written by head {head.component.name!r}: it is not of a modality of vectors",
            f"modalities of vectors: {', '.join(self.continuous) or 'none in this spec'}",
        )
        return None
