"""The command that predicts: one row from the command line, or a file of rows."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from mmkit.cli.freely import META
from mmkit.cli.model import Device, Folder, open_model, tasks_of
from mmkit.cli.options import sort_out
from mmkit.cli.output import to_json
from mmkit.cli.rows import Row, from_file, from_text
from mmkit.cli.words import in_words
from mmkit.errors import DataError, MmkitError, SampleError, nearest

if TYPE_CHECKING:
    from mmkit.cli.progress import Bars
    from mmkit.model.model import Model

Write = Callable[[str], None]


def predict(
    context: typer.Context,
    folder: Folder,
    task: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Name of the task; may be left out where the model has one.", autocompletion=tasks_of),
    ] = None,
    row: Annotated[Optional[str], typer.Option(metavar="JSON", help="A JSON object of columns.")] = None,  # noqa: UP045
    rows: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE.jsonl", help="One JSON object a line (`-`: stdin); prints one a line."),
    ] = None,
    root: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder that the media of --rows are in; default: that of the file."),
    ] = None,
    output: Annotated[Optional[Path], typer.Option(help="Write into this file instead of stdout.")] = None,  # noqa: UP045
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Go on after a bad row of --rows.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows of --rows at once.")] = 16,
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that the head says, for scripts.")] = False,
) -> None:
    """Predict one row or many.

    Columns and decoding options are options, too: `mmkit predict DIR --task caption --image cat.png --beams 4`
    """
    from mmkit.cli.progress import bars

    free: dict[str, str] = context.meta[META]
    if rows is not None and row is not None:
        raise MmkitError("--row and --rows exclude each other")
    given = from_text(row)
    many = None if rows is None else from_file(rows)
    with bars() as shown:
        shown.wait("loading the model")
        model = open_model(folder, device)
        task = _task(model, task)
        columns, options = sort_out(model, task, free)
        if many is None:
            _complete(model, task, {**given, **columns})
            shown.wait("predicting")
            result = model.predict(task, {**given, **columns}, **options)
    if many is None:
        with _writer(output) as write:
            write(to_json({"prediction": result}) if as_json else in_words(result))
        return
    if columns:
        raise MmkitError(f"--rows takes its columns from the file; --{next(iter(columns))} cannot stand beside it")
    assert rows is not None
    place = root or (None if str(rows) == "-" else rows.absolute().parent)
    job = _Job(model, task, options, place, skip_bad, batch_size)
    with _writer(output) as write, bars(output is not None or not sys.stdout.isatty()) as shown:
        job.run(*many, write, shown)


def _task(model: "Model", name: str | None) -> str:
    tasks = list(model.plan.tasks)
    if name is None and len(tasks) == 1:
        return tasks[0]
    if name is None:
        raise MmkitError(f"the model has several tasks; say --task with one of: {', '.join(tasks)}")
    if name not in tasks:
        raise MmkitError(f"there is no task {name!r}: {nearest(name, tasks)}")
    return name


def _complete(model: "Model", task: str, given: Mapping[str, Any]) -> None:
    """Raises MmkitError where a column is missing."""
    missing = [f"--{column}" for column in model.plan.tasks[task].columns if column not in given]
    if missing:
        raise MmkitError(f"task {task!r} needs {' and '.join(missing)}")


@contextmanager
def _writer(output: Path | None) -> Iterator[Write]:
    """Writes lines to a file or to stdout, so that a run that is cut short keeps what it has written."""
    if output is None:
        yield typer.echo
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with output.open("w", encoding="utf-8", buffering=1) as file:
            yield lambda line: print(line, file=file)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(output)) from None


@dataclass(frozen=True)
class _Job:
    """Prediction of a file of rows, batch by batch."""

    model: "Model"
    task: str
    options: Mapping[str, Any]
    root: Path | None
    skip_bad: bool
    batch_size: int

    def run(self, rows: Iterator[Row], total: int | None, write: Write, shown: "Bars") -> None:
        """Write one line a row.

        Raises:
            DataError: a row is bad and ``skip_bad`` is off, or all are.
        """
        done = bad = 0
        while batch := list(islice(rows, self.batch_size)):
            for row, answer in zip(batch, self._answers(batch), strict=True):
                if isinstance(answer, SampleError):
                    bad += 1
                    if not self.skip_bad:
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

    def _answers(self, batch: Sequence[Row]) -> list[Any]:
        """A prediction, or the reason why there is none, for each row."""
        good = [row for row in batch if not row.fault]
        answers = iter(self._predicted(good))
        return [SampleError(row.fault) if row.fault else next(answers) for row in batch]

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
