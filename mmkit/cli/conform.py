"""``mmkit conform``: what a plugin's components are held to, and how they do."""

from dataclasses import asdict
from itertools import count
from typing import Annotated, Optional

import typer

from mmkit.cli.output import print_json, show
from mmkit.cli.progress import bars


def conform(
    plugin: Annotated[str, typer.Argument(help="Name of the plugin or of its distribution.")],
    component: Annotated[Optional[str], typer.Option(help="Only this component.")] = None,  # noqa: UP045
    at_least: Annotated[str, typer.Option(help="Lowest level that every component has to reach.")] = "gold",
    as_json: Annotated[bool, typer.Option("--json", help="For scripts: every check.")] = False,
) -> None:
    """The scorecard of a plugin: bronze, silver or gold, and how to mend what fails. Exit code 1 below --at-least."""
    from mmkit.errors import MmkitError, nearest
    from mmkit.testing.check import LEVELS
    from mmkit.testing.runner import conform as scores_of

    if at_least not in LEVELS:
        raise MmkitError(f"there is no level {at_least!r}: {nearest(at_least, LEVELS)}")
    with bars() as shown:
        shown.wait("checking")
        done = count(1)
        scores = list(scores_of(plugin, component, lambda outcome: shown.step(outcome.component, next(done), None)))
    if as_json:
        print_json(
            [
                {**asdict(outcome), "check": outcome.check.name, "level": outcome.check.level}
                for score in scores
                for outcome in score.outcomes
            ]
        )
    else:
        rows = [
            (
                score.component,
                score.kind,
                score.level or "none",
                *(str(score.count(status)) for status in ("passed", "failed", "waived")),
                f"{score.seconds:.1f}",
            )
            for score in scores
        ]
        show(
            ("component", "kind", "level", "passed", "failed", "waived", "seconds"),
            rows,
            numbers=("passed", "failed", "waived", "seconds"),
        )
        for score in scores:
            for outcome in score.outcomes:
                if outcome.status in ("failed", "waived"):
                    case = f" ({outcome.case})" if outcome.case else ""
                    typer.echo(f"\n{outcome.status}: {outcome.component}{case}: {outcome.check.name}")
                    typer.echo(f"  {outcome.text}")
                    if outcome.status == "failed":
                        typer.echo(f"  {outcome.check.level} needs: {outcome.check.about}")
                        typer.echo(f"  to mend: {outcome.check.mend}")
            if not score.enough:
                typer.echo(f"\n{score.component}: too few checks ran to give it a level")
    reached = min((LEVELS.index(score.level) if score.level else -1 for score in scores), default=-1)
    if reached < LEVELS.index(at_least):
        raise typer.Exit(1)
