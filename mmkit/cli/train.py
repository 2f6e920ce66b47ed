"""The command that trains."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def train(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="YAML or JSON file.")],
    output: Annotated[Optional[Path], typer.Option(help="Folder of the model; default: train.output.")] = None,  # noqa: UP045
    seed: Annotated[Optional[int], typer.Option(help="In place of train.seed.")] = None,  # noqa: UP045
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in the folder.")] = False,
) -> None:
    """Build, train and save the model of a spec; prints the folder."""
    from mmkit.cli.progress import bars
    from mmkit.discovery import discover
    from mmkit.wiring.planner import plan

    planned = plan(spec, discover())  # what is wrong with the spec is said before torch is imported
    if output is None and planned.spec.train is not None:
        output = Path(planned.spec.train.output)
    losses: dict[str, str] = {}
    with bars() as shown:
        shown.wait("preparing")
        from mmkit.training.run import train as run

        def step(stage: str, at: int, of: int, logs: dict[str, float]) -> None:
            if "loss" in logs:
                losses[stage] = f"loss {float(logs['loss']):.3f}"
            shown.step(stage, at, of, losses.get(stage, ""))

        run(spec, output=output, seed=seed, resume=resume, say=shown.say, step=step)
    typer.echo(output)
