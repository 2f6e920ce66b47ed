"""Commands about what is installed: plugins, components, schema. None of them imports torch."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

from mmkit.cli.output import print_json, show, to_json, write_text


def plugins(
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the traceback of plugins that failed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Every installed plugin and what became of it."""
    from mmkit.discovery import discover

    reports = discover().reports
    if as_json:
        print_json([asdict(report) for report in reports])
        return
    if not reports:
        typer.echo("no plugin is installed; for example: pip install mmkit-text mmkit-tasks")
        return
    rows = []
    for report in reports:
        names = ", ".join(dict.fromkeys(component.name for component in report.components))
        what = names if report.status == "loaded" else report.reason
        rows.append((report.name, report.status, f"{report.distribution} {report.version}", what))
    show(("plugin", "status", "distribution", "components"), rows, wrap="components")
    for report in reports:
        if report.fix:
            typer.echo(f"\n{report}\n    fix: {report.fix}")
        for text in report.notes:
            typer.echo(f"\nplugin {report.name!r} ({report.distribution} {report.version}) {text}")
        if traceback and report.traceback:
            typer.echo(f"\n{report.name}:\n{report.traceback}")


def _kinds(incomplete: str) -> list[str]:
    from mmkit.registry import KINDS

    return [kind for kind in KINDS if kind.startswith(incomplete)]


def components(
    kind: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="encoder, adapter, vocabulary, backbone, head or metric.", autocompletion=_kinds),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Everything that a spec's `use:` can name."""
    from mmkit.discovery import discover
    from mmkit.errors import MmkitError, nearest
    from mmkit.registry import KINDS

    if kind is not None and kind not in KINDS:
        raise MmkitError(f"there is no kind {kind!r}: {nearest(kind, KINDS)}")
    found = discover().of_kind(*([kind] if kind else KINDS))
    if as_json:
        print_json([asdict(component) for component in found])
        return
    rows = [(c.kind, c.full_name, c.modality, c.summary) for c in found]
    show(("kind", "name", "modality", "summary"), rows, wrap="summary")


def schema(
    output: Annotated[Optional[Path], typer.Option(help="Write into this file instead of stdout.")] = None,  # noqa: UP045
) -> None:
    """The JSON Schema of the spec, with the options of the installed components, for editors."""
    from mmkit.discovery import discover
    from mmkit.wiring.schema import json_schema

    text = to_json(json_schema(discover()), indent=2)
    if output is None:
        typer.echo(text)
    else:
        write_text(output, text + "\n")
