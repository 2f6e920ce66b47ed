"""The command that searches values of a spec."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mmkit.cli.output import note, print_json, show

if TYPE_CHECKING:
    from mmkit.tuning.run import TuneResult


def tune(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="YAML or JSON file with a tune section.")],
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder of the search; default: train.output with -tune."),
    ] = None,
    trials: Annotated[Optional[int], typer.Option(min=1, help="In place of tune.trials.")] = None,  # noqa: UP045
    metric: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="TASK.METRIC or loss, on data.valid; in place of tune.metric."),
    ] = None,
    seed: Annotated[Optional[int], typer.Option(min=0, help="In place of tune.seed.")] = None,  # noqa: UP045
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Search the values that the spec's tune section names; run again, it goes on where it was."""
    from mmkit.cli.progress import bars
    from mmkit.discovery import discover
    from mmkit.wiring.planner import plan

    plan(spec, discover())  # what is wrong with the spec is said before torch is imported
    with bars() as shown:
        shown.wait("preparing")
        from mmkit.tuning.run import tune as run

        def step(stage: str, at: int, of: int, figures: dict[str, float]) -> None:
            shown.step(stage, at, of)

        found = run(spec, output=output, trials=trials, metric=metric, seed=seed, say=shown.say, step=step)
    if as_json:
        print_json(asdict(found))
    else:
        _table(found)


def _table(found: "TuneResult") -> None:
    from mmkit.wiring.variants import short

    paths = list(found.best.values)
    rows = []
    for trial in found.trials:
        value = "" if trial.value is None else f"{trial.value:.4f}"
        state = trial.state + (" (best)" if trial.number == found.best.number else "")
        values = [short(trial.values[path]) if path in trial.values else "" for path in paths]
        rows.append((str(trial.number), state, value, *values, trial.reason.partition("\n")[0]))
    columns = ("trial", "state", found.metric, *paths, "reason")
    if not any(trial.reason for trial in found.trials):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    show(columns, rows, numbers=("trial", found.metric), wrap="reason")
    note(f"best spec: {found.spec}")
    note(f"its model: {found.model}")
