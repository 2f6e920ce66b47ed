"""The command that trains."""

import os
from pathlib import Path
from typing import Annotated, Optional

import typer

from mmkit.errors import MmkitError


def train(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="YAML or JSON file.")],
    output: Annotated[Optional[Path], typer.Option(help="Folder of the model; default: train.output.")] = None,  # noqa: UP045
    seed: Annotated[Optional[int], typer.Option(help="In place of train.seed.")] = None,  # noqa: UP045
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in the folder.")] = False,
) -> None:
    """Build, train and save the model of a spec; prints the folder.

    With several processes: torchrun --nproc-per-node 2 -m mmkit train SPEC.
    """
    from mmkit.cli.progress import bars
    from mmkit.discovery import discover
    from mmkit.wiring.planner import plan

    others = os.environ.get("RANK", "0") != "0"  # processes of one run: the first one speaks
    try:
        planned = plan(spec, discover())  # what is wrong with the spec is said before torch is imported
    except MmkitError as error:
        error.quiet = others
        raise
    if output is None and planned.spec.train is not None:
        output = Path(planned.spec.train.output)
    losses: dict[str, str] = {}
    with bars(not others) as shown:
        shown.wait("preparing")
        from mmkit.training.run import train as run

        def step(stage: str, at: int, of: int, logs: dict[str, float]) -> None:
            if "loss" in logs:
                losses[stage] = f"loss {float(logs['loss']):.3f}"
            shown.step(stage, at, of, losses.get(stage, ""))

        run(spec, output=output, seed=seed, resume=resume, say=shown.say, step=step)
    if not others:
        typer.echo(output)
