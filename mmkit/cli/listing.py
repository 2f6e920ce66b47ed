"""Commands about what is installed: plugins, components, schema. None of them imports torch."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mmkit.cli.output import print_json, show, to_json, write_text

if TYPE_CHECKING:
    from collections.abc import Container

    from mmkit.registry.registry import PluginReport


def plugins(
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the traceback of plugins that failed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Every installed plugin and what became of it."""
    from mmkit.discovery import discover

    registry = discover()
    groups = registry.shadowed()
    full = {(c.kind, c.full_name) for group in groups for c in group}
    if as_json:
        shadowed = [[c.name for c in one.components if (c.kind, c.full_name) in full] for one in registry.reports]
        found = zip(registry.reports, shadowed, strict=True)
        print_json([{**asdict(report), "shadowed": names} for report, names in found])
        return
    if not registry.reports:
        typer.echo("no plugin is installed; for example: pip install mmkit-text mmkit-tasks")
        return
    columns = ("plugin", "status", "distribution", "components")
    show(columns, [_row(report, full) for report in registry.reports], wrap="components")
    for report in registry.reports:
        if report.fix:
            typer.echo(f"\n{report}\n    fix: {report.fix}")
        for text in report.notes:
            typer.echo(f"\nplugin {report.name!r} ({report.distribution} {report.version}) {text}")
        if traceback and report.traceback:
            typer.echo(f"\n{report.name}:\n{report.traceback}")
    for group in groups:
        names = " and ".join(component.full_name for component in group)
        typer.echo(f"\n{group[0].name!r} is offered by {names}\n    fix: write one of these full names after use:")


def _row(report: "PluginReport", full: "Container[tuple[str, str]]") -> tuple[str, str, str, str]:
    """Of a plugin that is loaded its components, by full name where the short one does not tell them apart."""
    where = f"{report.distribution} {report.version}"
    if report.status != "loaded":
        return report.name, report.status, where, report.reason
    names, shadowed = [], ""
    for component in report.components:
        needs_full_name = (component.kind, component.full_name) in full
        names.append(component.full_name if needs_full_name else component.name)
        shadowed = ", shadowed" if needs_full_name else shadowed
    names += [f"command {command.name}" for command in report.commands]
    status = f"loaded{shadowed}{', slow' if report.slow else ''}"
    return report.name, status, where, ", ".join(dict.fromkeys(names))


def _kinds(incomplete: str) -> list[str]:
    from mmkit.registry import KINDS

    return [kind for kind in KINDS if kind.startswith(incomplete)]


def components(
    kind: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="encoder, adapter, vocabulary, continuous, backbone, head, source, metric or callback.",
            autocompletion=_kinds,
        ),
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
