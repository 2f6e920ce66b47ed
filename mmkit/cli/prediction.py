"""Prediction of a file of rows: answers batch by batch, and what is written of them."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkit.cli.output import to_json
from mmkit.cli.rows import Row
from mmkit.errors import DataError, MmkitError, SampleError

if TYPE_CHECKING:
    from mmkit.cli.progress import Bars
    from mmkit.model.model import Model
    from mmkit.model.rendering import Files

Write = Callable[[str], None]
Answers = Generator[Sequence[tuple[Row, Any]], None, None]
"""Batches of rows, each with its prediction or the SampleError that says why there is none."""


@dataclass(frozen=True)
class Predictor:
    """A model and how it is asked; ``files`` are where pictures, sounds and the like go."""

    model: "Model"
    task: str
    options: Mapping[str, Any]
    root: Path | None
    files: "Files | None" = None

    def __call__(self, batch: Sequence[Row]) -> list[Any]:
        """A prediction, or the reason why there is none, for each row."""
        good = [row for row in batch if not row.fault]
        predicted = self._predicted(good)
        answers = iter([self._plain(row, answer) for row, answer in zip(good, predicted, strict=True)])
        return [SampleError(row.fault) if row.fault else next(answers) for row in batch]

    def _plain(self, row: Row, answer: Any) -> Any:
        """What a line can hold: paths in place of what goes into files.

        Raises:
            MmkitError: there is no folder for them.
        """
        from mmkit.model.rendering import with_files

        if isinstance(answer, SampleError):
            return answer
        if self.files is not None:
            return self.files.saved(answer, row.number)
        return with_files(answer, lambda *_: _refuse(self.task))

    def _predicted(self, rows: Sequence[Row]) -> list[Any]:
        """All at once; where a row is bad each for itself, to find it."""
        if not rows:
            return []
        try:
            columns = [row.columns for row in rows]
            return list(self.model.predict(self.task, columns, root=self.root, **self.options))
        except SampleError as error:
            if len(rows) == 1:
                return [error]
            return [answer for row in rows for answer in self._predicted([row])]


def homeless(task: str) -> MmkitError:
    """Files, and no folder for them."""
    return MmkitError(f"task {task!r} answers with files, which no line can hold; say where they go with --out FOLDER")


def _refuse(task: str) -> str:
    raise homeless(task)


def predicted_here(predictor: Predictor, rows: Iterator[Row], batch_size: int) -> Answers:
    """In this process."""
    while batch := list(islice(rows, batch_size)):
        yield list(zip(batch, predictor(batch), strict=True))


def write_answers(answers: Answers, total: int | None, skip_bad: bool, write: Write, shown: "Bars") -> None:
    """Write one line a row, in order.

    Raises:
        DataError: a row is bad and ``skip_bad`` is off, or all are.
    """
    done = bad = 0
    for batch in answers:
        for row, answer in batch:
            if isinstance(answer, SampleError):
                bad += 1
                if not skip_bad:
                    raise DataError(f"{row.address}: {answer} (--skip-bad would go on; rows written: {done})")
                write(to_json({"row": row.number, "error": str(answer)}))
            else:
                write(to_json({"row": row.number, "prediction": answer}))
            done += 1
        shown.step("predicting", done, total)
    if bad:
        shown.say(f"{bad} of {done} rows could not be used; their lines say why")
    if bad == done:
        raise DataError("no row could be used")
