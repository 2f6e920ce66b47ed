"""``mmkit doctor``: whether the environment is fit, one line a check."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mmkit.cli.outcome import FAILED
from mmkit.cli.output import note, print_json

if TYPE_CHECKING:
    from mmkit.doctor import Finding

COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Check the environment: versions, GPU, disk, plugins, extras. Exit code 1 where there is a problem."""
    from mmkit.doctor import examine

    found = []
    for finding in examine():
        found.append(finding)
        if not as_json:
            _print(finding)
    counts = {status: sum(finding.status == status for finding in found) for status in COLOURS}
    if as_json:
        print_json([asdict(finding) for finding in found])
    else:
        note(f"\n{counts['ok']} ok, {_many(counts['note'], 'note')}, {_many(counts['problem'], 'problem')}")
    if counts["problem"]:
        raise typer.Exit(FAILED)


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _print(finding: "Finding") -> None:
    typer.secho(f"{finding.status:<7}", fg=COLOURS[finding.status], nl=False)
    typer.echo(f"  {finding.check:<13}  {finding.text}")
    if finding.fix:
        typer.echo(f"{'':<9}fix: {finding.fix}")
