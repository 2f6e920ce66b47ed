"""The commands that bring models out of mmkit, and those of others in."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from mmkit.cli.model import Folder, open_model, tasks_of

HELP = {"help_option_names": ["--help", "-h"]}
export = typer.Typer(help="Write a saved model as other programs read it.", context_settings=HELP, no_args_is_help=True)
bring = typer.Typer(
    help="Make a saved model of what other programs wrote.", context_settings=HELP, no_args_is_help=True
)
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; must not be there yet.")]


@export.command("hf")
def export_hf(
    folder: Folder,
    out: Out,
    task: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Meant where inputs name none; default: the first that generates.", autocompletion=tasks_of),
    ] = None,
    bare: Annotated[bool, typer.Option("--bare", help="Leave the spec's sections data and train out.")] = False,
) -> None:
    """A folder of transformers: AutoModel, AutoProcessor, generate, Trainer, peft."""
    from mmkit.exchange.hf_export import export_hf as write

    _quiet()
    model = open_model(folder, "cpu")
    count = write(model, out, task=task, bare=bare)
    typer.echo(f"read back: {count} tensors, bit for bit", err=True)
    typer.echo(out)


@bring.command("hf")
def import_hf(
    folder: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Folder of transformers.")], out: Out
) -> None:
    """A model of mmkit out of a folder of transformers: one that mmkit exported, or of a type that a plugin imports."""
    from mmkit.exchange.imports import bring_in as read

    _quiet()
    read(folder, out)
    typer.echo(out)


def _quiet() -> None:
    """No progress bars of transformers."""
    from transformers.utils import logging

    logging.disable_progress_bar()
