"""The command that trains."""

import os
from pathlib import Path
from typing import Annotated, Optional

import typer

from mmkit.cli.progress import bars


def train(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="YAML or JSON file.")],
    output: Annotated[Optional[Path], typer.Option(help="Folder of the model; default: train.output.")] = None,  # noqa: UP045
    seed: Annotated[Optional[int], typer.Option(help="In place of train.seed.")] = None,  # noqa: UP045
) -> None:
    """Build, train and save the model of a spec; prints the folder."""
    from mmkit.discovery import discover
    from mmkit.wiring.planner import plan

    planned = plan(spec, discover())  # what is wrong with the spec is said before torch is imported
    if planned.spec.train is not None:
        output = output or Path(planned.spec.train.output)
        _can_be_written(output)
    with bars() as shown:
        shown.wait("preparing")
        from mmkit.training.run import train as run

        def step(stage: str, at: int, of: int, logs: dict[str, float]) -> None:
            loss = f"loss {float(logs['loss']):.3f}" if "loss" in logs else losses.get(stage, "")
            losses[stage] = loss
            shown.step(stage, at, of, loss)

        losses: dict[str, str] = {}
        run(spec, output=output, seed=seed, say=shown.say, step=step)
    typer.echo(output)


def _can_be_written(folder: Path) -> None:
    """Found out before hours of training.

    Raises:
        MmkitError: it holds something else than a saved model, which saving would replace.
        OSError: no permission.
    """
    from mmkit.errors import MmkitError

    if folder.is_dir() and any(folder.iterdir()) and not (folder / "manifest.json").is_file():
        raise MmkitError(f"{folder} is not empty and holds no saved model; give another folder with --output")
    if folder.exists() and not folder.is_dir():
        raise MmkitError(f"{folder} is a file; give a folder with --output")
    above = folder.absolute().parent
    while not above.exists():
        above = above.parent
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(13, "no permission to write here", str(above))
