"""The command that predicts: one row from the command line, or a file of rows."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from mmkit.cli import engines
from mmkit.cli.freely import META
from mmkit.cli.model import Device, Folder, RowJson, TaskName, open_model
from mmkit.cli.options import sort_out
from mmkit.cli.output import to_json
from mmkit.cli.prediction import Predictor, Write, homeless, write_answers
from mmkit.cli.rows import from_file, from_text
from mmkit.cli.streamed import write_pieces
from mmkit.cli.words import in_words
from mmkit.errors import MmkitError, nearest

if TYPE_CHECKING:
    from mmkit.model.model import Model
    from mmkit.model.rendering import Files

Root = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="Folder that the media of --rows are in; default: that of the file."),
]
Out = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(metavar="FOLDER", help="Folder for answers that are files: pictures, sounds …; default: this one."),
]
Workers = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=1, help="Copies of the model with --engine ray; default: one a GPU, else one a machine."),
]


def predict(
    context: typer.Context,
    folder: Folder,
    task: TaskName = None,
    row: RowJson = None,
    rows: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE.jsonl", help="One JSON object a line (`-`: stdin); prints one a line."),
    ] = None,
    root: Root = None,
    output: Annotated[Optional[Path], typer.Option(help="Write into this file instead of stdout.")] = None,  # noqa: UP045
    out: Out = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Go on after a bad row of --rows.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows of --rows at once.")] = 16,
    engine: Annotated[
        str, typer.Option(help="local, or ray: --rows on the machines of a Ray cluster.", autocompletion=engines.names)
    ] = "local",
    workers: Workers = None,
    device: Device = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print one row's answer as it comes into being.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that the head says, for scripts.")] = False,
) -> None:
    """Predict one row or many.

    Columns and decoding options are options, too: `mmkit predict DIR --task caption --image cat.png --beams 4`
    """
    from mmkit.cli.progress import bars

    free: dict[str, str] = context.meta[META]
    chosen = engines.Engine(engine, workers, batch_size, device)
    chosen.check(rows, row)
    if stream and (rows or output):
        raise MmkitError(
            f"--stream prints the answer to one row; --{'rows' if rows else 'output'} cannot stand beside it"
        )
    given = from_text(row)
    many = None if rows is None else from_file(rows)
    with bars() as shown:
        shown.wait("loading the model")
        model = open_model(folder, chosen.own_device)
        task = task_of(model, task)
        columns, options = sort_out(model, task, free)
        if many is None:
            complete(model, task, given | columns)
    if many is None:
        _one(model, task, given | columns, options, out or Path(), output, stream, as_json)
        return
    if columns:
        raise MmkitError(f"--rows takes its columns from the file; --{next(iter(columns))} cannot stand beside it")
    assert rows is not None
    predictor = Predictor(model, task, options, _root(root, rows), _files(model, task, out))
    answers = chosen.answers(predictor, folder, rows, many[0])
    with closing(answers), _writer(output) as write, bars(output is not None or not sys.stdout.isatty()) as shown:
        write_answers(answers, many[1], skip_bad, write, shown)


def _one(
    model: "Model",
    task: str,
    row: Mapping[str, Any],
    options: Mapping[str, Any],
    folder: Path,
    output: Path | None,
    stream: bool,
    as_json: bool,
) -> None:
    """Predict one row and print the answer; its files go into ``folder``."""
    from mmkit.cli.progress import bars
    from mmkit.model.rendering import Files

    files = Files(folder, task)
    if stream:
        write_pieces(model.stream(task, row, **options), files, as_json)
        return
    with bars() as shown:
        shown.wait("predicting")
        result = files.saved(model.predict(task, row, **options))
    with _writer(output) as write:
        write(to_json({"prediction": result}) if as_json else in_words(result))


def _files(model: "Model", task: str, out: Path | None) -> "Files | None":
    """Where the answers of rows go that are files.

    Raises:
        MmkitError: they are, and there is no folder for them.
    """
    from mmkit.model.rendering import Files, renderers_of

    if out is None and renderers_of(model.plan, task):
        raise homeless(task)
    return None if out is None else Files(out.absolute(), task, out)


def _root(given: Path | None, rows: Path) -> Path | None:
    """The folder that media must be in."""
    if given is not None:
        return given.absolute()
    return None if str(rows) == "-" else rows.absolute().parent


def task_of(model: "Model", name: str | None) -> str:
    """The task that is meant.

    Raises:
        MmkitError: there is none of this name, or there are several and none is named.
    """
    tasks = list(model.plan.tasks)
    if name is None and len(tasks) == 1:
        return tasks[0]
    if name is None:
        raise MmkitError(f"the model has several tasks; say --task with one of: {', '.join(tasks)}")
    if name not in tasks:
        raise MmkitError(f"there is no task {name!r}: {nearest(name, tasks)}")
    return name


def complete(model: "Model", task: str, given: Mapping[str, Any]) -> None:
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
