"""``mmkit conform``: what a plugin's components are held to, and how they do."""

from dataclasses import asdict
from itertools import count
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mmkit.cli.output import print_json, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmkit.testing.runner import Score


def _plugins(incomplete: str) -> list[str]:
    """Plugins, and their distributions once one is begun."""
    from mmkit.discovery import plugins

    loaded = [report for report in plugins() if report.status == "loaded"]
    names = [one.name for one in loaded] + [one.distribution for one in loaded if incomplete]
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def _components(context: typer.Context, incomplete: str) -> list[str]:
    from mmkit.discovery import plugins

    given = context.params["plugin"] or next(iter(context.args), None)  # an unfinished line is not parsed
    found = [c.name for one in plugins() if given in (None, one.name, one.distribution) for c in one.components]
    return [name for name in dict.fromkeys(found) if name.startswith(incomplete)]


def _levels(incomplete: str) -> list[str]:
    from mmkit.testing.check import LEVELS

    return [level for level in LEVELS if level.startswith(incomplete)]


def conform(
    plugin: Annotated[str, typer.Argument(help="Name of the plugin or of its distribution.", autocompletion=_plugins)],
    component: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Only this component.", autocompletion=_components),
    ] = None,
    at_least: Annotated[
        str, typer.Option(help="Lowest level that every component has to reach.", autocompletion=_levels)
    ] = "gold",
    as_json: Annotated[bool, typer.Option("--json", help="For scripts: every check.")] = False,
) -> None:
    """The scorecard of a plugin: bronze, silver or gold, and how to mend what fails. Exit code 1 below --at-least."""
    from mmkit.cli.progress import bars
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
        _show(scores)
    reached = min((LEVELS.index(score.level) if score.level else -1 for score in scores), default=-1)
    if reached < LEVELS.index(at_least):
        raise typer.Exit(1)


def _show(scores: "Sequence[Score]") -> None:
    """A line a component, then what failed or is waived."""
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
