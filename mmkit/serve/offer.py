"""What a model offers, told from its plan: tasks, the columns they take and the kind of value that comes out."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mmkit.errors import nearest
from mmkit.interfaces import TaskHead
from mmkit.model.model import Model
from mmkit.serve.refusal import Refusal, bad

TEXT = "text"


@dataclass(frozen=True)
class Column:
    """A column of a task's input.

    Attributes:
        modality: its name in the spec. kind: of value, as the component that reads it says: text, image, audio, ecg …
        files: a string in this column would be a file's path; such a value is only ever taken as bytes, or as numbers.
    """

    name: str
    modality: str
    kind: str
    files: bool

    def takes(self, label: str) -> bool:
        """Whether a part of this label, a modality of the spec or a kind of value, goes here."""
        return label in (self.modality, self.kind)


@dataclass(frozen=True)
class Offered:
    """A task.

    Attributes:
        gives: kind of value that comes out, where an adapter of the spec writes it; empty for what a head says itself (a label, a
            number), and for outputs of several parts.
        embeds: column → place of its node among those that the head reads, of a head that gives embeddings.
    """

    name: str
    columns: tuple[Column, ...]
    gives: str
    generates: bool
    draws: bool
    options: tuple[str, ...]
    schema: dict[str, Any]
    embeds: dict[str, int]

    @property
    def wants(self) -> str:
        """Its input in words."""
        return listed(column.kind or column.modality for column in self.columns) or "nothing"

    @property
    def spells(self) -> bool:
        """Whether its answers are texts that can be held to a schema, as far as the vocabulary can."""
        return self.gives == TEXT and self.generates

    @property
    def writes_text(self) -> bool:
        """Whether text comes out, alone or with other values in it."""
        return self.gives == TEXT or (self.generates and not self.gives)

    def column(self, name: str) -> Column | None:
        """A column by name."""
        return next((column for column in self.columns if column.name == name), None)

    def filled(self, labels: Sequence[str]) -> list[Column] | None:
        """The column of each part, in order; None where parts and columns do not match one to one."""
        free, found = list(self.columns), []
        for label in labels:
            column = next((column for column in free if column.takes(label)), None)
            if column is None:
                return None
            free.remove(column)
            found.append(column)
        return None if free else found


def offered(model: Model) -> dict[str, Offered]:
    """Every task of a model by name."""
    return {name: _offered(model, name) for name in model.plan.tasks}


def _offered(model: Model, name: str) -> Offered:
    from mmkit.model.generate import OPTIONS

    planned, head = model.plan.tasks[name], model.parts.heads[name]
    columns = tuple(_column(model, column, planned.modality_of[column]) for column in dict.fromkeys(planned.columns))
    known = (
        tuple(option for option in head.options() if option in OPTIONS)
        if head.autoregressive
        else ("seed",) * head.draws
    )
    gives = ""
    if planned.by_adapter and not planned.written and planned.output_modality in model.plan.modalities:
        gives = model.plan.modalities[planned.output_modality].kind
    if gives == TEXT and head.autoregressive:
        known = (*known, "schema")
    embeds = _embeds(columns, planned.reads, head)
    schema = dict(head.answer_schema())
    return Offered(name, columns, gives, head.autoregressive, head.draws, known, schema, embeds)


def _column(model: Model, name: str, modality: str) -> Column:
    readers: dict[str, Any] = {**model.processors(), **model.vocabularies}
    return Column(name, modality, model.plan.modalities[modality].kind, bool(readers[modality].strings_are_paths))


def _embeds(columns: Sequence[Column], reads: Sequence[str], head: TaskHead) -> dict[str, int]:
    """Of the columns whose own node a head reads and embeds."""
    if not head.embeds:
        return {}
    places = {node.rpartition(".")[0]: place for place, node in enumerate(reads)}
    return {column.name: places[column.modality] for column in columns if column.modality in places}


def listed(labels: Iterable[str]) -> str:
    """``1 image and 2 texts``, in words."""
    counts = [f"{count} {label}" + "s" * (count > 1) for label, count in Counter(labels).items()]
    return " and ".join([part for part in (", ".join(counts[:-1]), *counts[-1:]) if part])


class Choice:
    """Finds the task that a request means by its ``model`` and by what it brings."""

    def __init__(self, name: str, tasks: dict[str, Offered]) -> None:
        self.name, self.tasks = name, tasks

    @property
    def names(self) -> list[str]:
        """What ``model`` may be."""
        return [self.name, *(f"{self.name}/{task}" for task in self.tasks)]

    def among(self, model: str) -> list[Offered]:
        """Tasks that ``model`` may mean: one, or all.

        Raises:
            Refusal: there is no such model.
        """
        if model == self.name:
            return list(self.tasks.values())
        task = model.removeprefix(f"{self.name}/")
        if task != model and task in self.tasks:
            return [self.tasks[task]]
        hint = nearest(model[:100], self.names)
        raise Refusal(404, "model_not_found", f"there is no model {model[:100]!r}: {hint}", "model")

    def one(self, able: Sequence[Offered], fitting: Sequence[Offered], brought: str, which: str) -> Offered:
        """The only task that fits, of those that are able.

        Raises:
            Refusal: none does, or several do.
        """
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            names = ", ".join(f"{self.name}/{task.name}" for task in fitting)
            raise bad(
                "several_tasks_fit",
                f"more than one task {which} takes {brought}; say which one as model: {names}",
                "model",
            )
        if not able:
            raise bad("no_task_fits", f"no task of {self.name} {which}", "model")
        known = "; ".join(f"{task.name} takes {task.wants}" for task in able)
        raise bad("no_task_fits", f"no task {which} takes {brought or 'nothing'}: {known}", "model")
