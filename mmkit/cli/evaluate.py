"""The command that evaluates."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from mmkit.cli.model import Device, Folder, open_model
from mmkit.cli.output import print_json, show, to_json, write_text

if TYPE_CHECKING:
    from mmkit.training.evaluate import TaskResult

PARTS = ("test", "valid", "train")


def _parts(incomplete: str) -> list[str]:
    return [part for part in PARTS if part.startswith(incomplete)]


def evaluate(
    folder: Folder,
    part: Annotated[str, typer.Option(help="test, valid or train rows.", autocompletion=_parts)] = "test",
    limit: Annotated[Optional[int], typer.Option(min=1, help="Most rows a source.")] = None,  # noqa: UP045
    batch_size: Annotated[int, typer.Option(min=1, help="Rows at once.")] = 64,
    predictions: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE.jsonl", help="Also write every prediction beside its reference."),
    ] = None,
    report: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE.html", help="Also write a page with figures, answers and what plugins add to it."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Also keep the figures in DIR, where the model card finds them.")
    ] = False,
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Metrics on held-out rows."""
    from mmkit.cli.progress import bars, stepper
    from mmkit.errors import MmkitError, nearest

    if part not in PARTS:
        raise MmkitError(f"there is no part {part!r}: {nearest(part, PARTS)}")
    with bars() as shown:
        shown.wait("loading the model")
        model = open_model(folder, device)
        shown.wait("opening the data")
        from mmkit.training.evaluate import evaluate as run

        results = run(model, part, batch_size=batch_size, limit=limit, step=stepper(shown), say=shown.say)
    if predictions is not None:
        write_text(predictions, "".join(_lines(results, predictions)))
        typer.echo(f"wrote {predictions}", err=True)
    if report is not None:
        from mmkit.training.report import Evaluation, write_report

        write_report(report, Evaluation(model, part, results), f"Evaluation of {folder}")
        typer.echo(f"wrote {report}", err=True)
    if keep:
        from mmkit.training.figures import keep as write

        typer.echo(f"wrote {write(folder, part, results, limit)}", err=True)
    if as_json:
        print_json({t: {"rows": len(r.predictions), "metrics": r.metrics} for t, r in results.items()})
        return
    rows = [
        (task, f"{len(result.predictions):,}", name, f"{value:.4f}")
        for task, result in results.items()
        for name, value in result.metrics.items()
    ]
    show(("task", "rows", "metric", "value"), rows, numbers=("rows", "value"))


def _lines(results: "dict[str, TaskResult]", path: Path) -> list[str]:
    """One a prediction; pictures, sounds and the like go into a folder beside the file, of its name."""
    from mmkit.model.rendering import Files

    lines = []
    for task, result in results.items():
        files = Files(path.with_suffix(""), task, Path(path.stem))
        rows = zip(result.addresses, result.predictions, result.references, strict=True)
        for number, (address, prediction, reference) in enumerate(rows, 1):
            said = files.saved(prediction, number)
            line: dict[str, Any] = {"task": task, "row": address, "prediction": said, "reference": reference}
            lines.append(to_json(line) + "\n")
    return lines
