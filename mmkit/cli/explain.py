"""The command that says why a model gave an answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mmkit.cli.freely import META
from mmkit.cli.model import Device, Folder, RowJson, TaskName, open_model
from mmkit.cli.options import sort_out
from mmkit.cli.output import note, print_json, show
from mmkit.cli.predict import complete, task_of
from mmkit.cli.rows import from_text
from mmkit.errors import MmkitError

if TYPE_CHECKING:
    from mmkit.explaining.explanation import Explanation


def explain(
    context: typer.Context,
    folder: Folder,
    task: TaskName = None,
    row: RowJson = None,
    target: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Answer to explain, such as a label or a text; default: the model's own."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Passes of integrated gradients.")] = 32,
    each_output: Annotated[
        bool, typer.Option("--each-output", help="Explain every id of a generated answer by itself, too.")
    ] = False,
    attention: Annotated[bool, typer.Option("--attention", help="Show where the backbone looked, too.")] = False,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Draw it: FILE.html is a page with everything inside, FILE.png a picture."),
    ] = None,
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers, for scripts.")] = False,
) -> None:
    """Say what in a row made the model give its answer.

    Columns are options, too: `mmkit explain DIR --task mood --text "a fine film" --out why.html`
    """
    from mmkit.cli.progress import bars

    if out is not None and out.suffix.lower() not in (".html", ".htm", ".png"):
        raise MmkitError(f"--out is FILE.html, a page, or FILE.png, a picture; got {out}")
    free: dict[str, str] = context.meta[META]
    given = from_text(row)
    with bars() as shown:
        shown.wait("loading the model")
        model = open_model(folder, device)
        task = task_of(model, task)
        columns, options = sort_out(model, task, free)
        if options:
            raise MmkitError(f"explain takes no decoding options, got: --{next(iter(options)).replace('_', '-')}")
        complete(model, task, given | columns)
        shown.wait("explaining")
        from mmkit.explaining.run import explain as explained

        found = explained(
            model, task, given | columns, target=target, steps=steps, each_output=each_output, attention=attention
        )
        if out is not None:
            content = found.png() if out.suffix.lower() == ".png" else found.html().encode()
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(content)
    if as_json:
        print_json(found.to_json())
        return
    typer.echo(f"{found.words}: {found.score:.4f}, with nothing in its columns {found.baseline:.4f}")
    _table(found)
    note(f"error of integrated gradients: {found.error:+.4f} ({found.steps} steps)")


def _table(found: "Explanation") -> None:
    """A row a column."""
    looked = found.attention
    rows = [
        (
            column.name,
            column.modality,
            f"{column.share:.1%}",
            f"{column.attribution:+.4f}",
            "" if column.shapley is None else f"{column.shapley:+.4f}",
            *(() if looked is None else (f"{looked.rollout[column.name]:.1%}", f"{looked.relevance[column.name]:.1%}")),
        )
        for column in found.columns
    ]
    numbers = ("share", "gradients", "Shapley", *(() if looked is None else ("rollout", "attention × gradient")))
    show(("column", "modality", *numbers), rows, numbers=numbers)
