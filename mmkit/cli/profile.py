"""The command that measures a few steps of a training."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mmkit.cli.output import note, print_json, show

if TYPE_CHECKING:
    from mmkit.profiling.run import Profile


def profile(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="YAML or JSON file.")],
    steps: Annotated[int, typer.Option(min=1, help="Steps to measure, after three that are not.")] = 5,
    stage: Annotated[Optional[str], typer.Option(help="Name of the stage; default: the first.")] = None,  # noqa: UP045
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE.json", help="Where the trace goes; default: train.output with .trace.json."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Where the time and memory of a training go, component by component; saves a trace and no model."""
    from mmkit.cli.progress import bars
    from mmkit.discovery import discover
    from mmkit.wiring.planner import plan

    plan(spec, discover())  # what is wrong with the spec is said before torch is imported
    with bars() as shown:
        shown.wait("profiling")
        from mmkit.profiling.run import profile_training

        found = profile_training(spec, stage=stage, steps=steps, output=output, say=shown.say)
    if as_json:
        print_json(asdict(found))
    else:
        _table(found)


def _table(found: "Profile") -> None:
    columns = ("component", "forward ms", "backward ms", "ms", "share", "weights MB", "training MB", "kept MB")
    rows = []
    for part in found.parts:
        times = [part.forward, part.backward]
        share = part.time / found.step if found.step else 0.0
        sizes = [part.weights, part.training, part.kept]
        rows.append(
            [part.name, *(_figure(time, 2) for time in times), f"{part.time:.2f}", f"{share:.1%}"]
            + [_figure(size, 1) for size in sizes]
        )
    sums = [sum(getattr(part, name) for part in found.parts) for name in ("forward", "backward", "time")]
    sizes = [sum(getattr(part, name) for part in found.parts) for name in ("weights", "training", "kept")]
    rows.append(["total", *(f"{time:.2f}" for time in sums), "100.0%", *(f"{size:.1f}" for size in sizes)])
    show(columns, rows, numbers=columns[1:], spare=("weights MB", "share"), total=True)
    bare = "" if found.bare is None else f"; without the profiler {found.bare:.2f} ms"
    note(f"a step of stage {found.stage} on {found.device}, mean of {found.steps}{bare}")
    note("training MB: gradients and optimizer state; kept MB: held by a forward pass for the backward pass")
    note(f"at most {found.peak:,.0f} MB held; trace: {found.trace}")


def _figure(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if value else ""
