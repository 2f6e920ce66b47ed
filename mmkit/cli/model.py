"""What the commands on saved models share."""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from mmkit.model.model import Model

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a saved model.")]
Device = Annotated[Optional[str], typer.Option(help="cpu, cuda, cuda:1 …; default: a GPU if there is one.")]  # noqa: UP045


@contextmanager
def staying(frozen: bool = False) -> Iterator[None]:
    """Inside, garbage is not looked for, since what is imported and loaded there stays: looking through it again and again is
    lost time. ``frozen``: nor is it looked for among that later, for processes that do one thing until their end.
    """
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if frozen:
            gc.freeze()
        if looked:
            gc.enable()


@staying()
def open_model(folder: Path, device: str | None, quantize: str | None = None) -> "Model":
    """Load a model where it will run.

    Raises:
        CheckpointError: it cannot be loaded.
        MmkitError: there is no such device, or no such way to quantize.
    """
    import torch

    from mmkit.errors import MmkitError
    from mmkit.model.checkpoint import load

    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise MmkitError(f"--device {device} cannot be used: {str(error).splitlines()[0]}") from None
    model = load(folder, device=device)
    return model if quantize is None else model.quantize(quantize)


def tasks_of(context: typer.Context, incomplete: str) -> list[str]:
    """Names for the shell's completion, from the model's spec; nothing where there is none."""
    try:
        spec = json.loads((Path(context.params["folder"]) / "spec.json").read_text("utf-8"))
        return [name for name in spec["tasks"] if name.startswith(incomplete)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


TaskName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Name of the task; may be left out where the model has one.", autocompletion=tasks_of),
]
RowJson = Annotated[Optional[str], typer.Option(metavar="JSON", help="A JSON object of columns.")]  # noqa: UP045
