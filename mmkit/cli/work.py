"""Commands that work: train, evaluate, predict."""

import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a saved model.")]


def _progress() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )


def train(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="YAML or JSON file.")],
    output: Annotated[Optional[Path], typer.Option(help="Folder of the model; default: train.output.")] = None,  # noqa: UP045
    seed: Annotated[Optional[int], typer.Option(help="In place of train.seed.")] = None,  # noqa: UP045
) -> None:
    """Build, train and save the model of a spec."""
    from mmkit.training.run import train as run

    with _progress() as progress:
        bars: dict[str, Any] = {}

        def step(stage: str, at: int, of: int, logs: dict[str, float]) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=of)
            progress.update(bars[stage], completed=at)

        say = lambda line: progress.console.print(line, highlight=False)  # noqa: E731
        run(spec, output=output, seed=seed, say=say, step=step)


def evaluate(
    folder: Folder,
    part: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    limit: Annotated[Optional[int], typer.Option(help="Most rows a source.")] = None,  # noqa: UP045
) -> None:
    """Metrics on held-out rows, as a table."""
    from rich.console import Console
    from rich.table import Table

    from mmkit.training.evaluate import evaluate as run

    with _progress() as progress:
        bars: dict[str, Any] = {}

        def step(task: str, done: int, of: int) -> None:
            if task not in bars:
                bars[task] = progress.add_task(task, total=of)
            progress.update(bars[task], completed=done)

        say = lambda line: progress.console.print(line, highlight=False)  # noqa: E731
        results = run(folder, part, limit=limit, step=step, say=say)
    table = Table("task", "rows", "metric", "value")
    for task, result in results.items():
        for name, value in result.metrics.items():
            table.add_row(task, str(len(result.predictions)), name, f"{value:.4f}")
    Console().print(table)


def predict(
    context: typer.Context,
    folder: Folder,
    task: Annotated[str, typer.Option(help="Name of the task.")],
    row: Annotated[Optional[str], typer.Option(help="A JSON object of columns.")] = None,  # noqa: UP045
) -> None:
    """One prediction: columns as options (`--image cat.png --text "Hello"`)."""
    from mmkit.model.checkpoint import load

    columns: dict[str, Any] = json.loads(row) if row else {}
    columns.update(_columns(context.args))
    result = load(folder).predict(task, columns)
    typer.echo(result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str))


def _columns(arguments: list[str]) -> dict[str, str]:
    from mmkit.errors import MmkitError

    columns: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name = rest.pop(0)
        if not name.startswith("--") or len(name) < 3:
            raise MmkitError(f"cannot read {name!r}: columns are given as --column value")
        name, equals, value = name[2:].partition("=")
        if not equals:
            if not rest:
                raise MmkitError(f"--{name} needs a value")
            value = rest.pop(0)
        columns[name] = value
    return columns
