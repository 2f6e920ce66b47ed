"""Commands that look: plugins, components, check, inspect, schema. None of the first two imports torch."""

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="YAML or JSON file.")]


def plugins(
    traceback: Annotated[bool, typer.Option(help="Show the traceback of plugins that failed.")] = False,
) -> None:
    """Every installed plugin and what became of it."""
    from rich.console import Console
    from rich.table import Table

    from mmkit.discovery import discover

    table = Table("plugin", "status", "distribution", "components")
    reports = discover().reports
    for report in reports:
        what = ", ".join(c.name for c in report.components) if report.status == "loaded" else report.reason
        table.add_row(report.name, report.status, f"{report.distribution} {report.version}", what)
    Console().print(table)
    for report in reports:
        if traceback and report.traceback:
            typer.echo(f"\n{report.name}:\n{report.traceback}")


def components(
    kind: Annotated[Optional[str], typer.Option(help="encoder, adapter, vocabulary, backbone, head or metric.")] = None,  # noqa: UP045
) -> None:
    """Everything that a spec's `use:` can name."""
    from rich.console import Console
    from rich.table import Table

    from mmkit.discovery import discover
    from mmkit.errors import MmkitError, nearest
    from mmkit.registry import KINDS

    if kind is not None and kind not in KINDS:
        raise MmkitError(f"unknown kind {kind!r}: {nearest(kind, KINDS)}")
    table = Table("kind", "name", "modality", "summary")
    for component in discover().of_kind(*([kind] if kind else KINDS)):
        table.add_row(component.kind, component.full_name, component.modality, component.summary)
    Console().print(table)


def check(spec: SpecPath, static: Annotated[bool, typer.Option(help="Only what needs no torch.")] = False) -> None:
    """Validate a spec before any weight is read."""
    from rich.console import Console
    from rich.table import Table

    from mmkit.wiring.check import check as run

    rows = run(spec, static=static)
    if static:
        table = Table("node", "component")
        for row in rows:
            table.add_row(row.node, row.component)
    else:
        table = Table("node", "component", "width", "parameters", "trained", "MB")
        for row in rows:
            sizes = (f"{row.parameters:,}", f"{row.trainable:,}", f"{row.megabytes:.1f}")
            table.add_row(row.node, row.component, str(row.width or ""), *sizes)
        sums = (sum(r.parameters for r in rows), sum(r.trainable for r in rows), sum(r.megabytes for r in rows))
        table.add_row("total", "", "", f"{sums[0]:,}", f"{sums[1]:,}", f"{sums[2]:.1f}")
    Console().print(table)


def inspect_spec(
    spec: SpecPath,
    mermaid: Annotated[bool, typer.Option(help="Print only the Mermaid text.")] = False,
    svg: Annotated[Optional[Path], typer.Option(help="Also draw the graph into this file.")] = None,  # noqa: UP045
) -> None:
    """The graph of a spec, as a table, as Mermaid, and as a picture."""
    from rich.console import Console
    from rich.table import Table

    from mmkit.discovery import discover
    from mmkit.wiring.draw import edges, to_mermaid
    from mmkit.wiring.planner import plan

    planned = plan(spec, discover())
    if not mermaid:
        table = Table("from", "to")
        for source, target in edges(planned):
            table.add_row(source, target)
        Console().print(table)
    typer.echo(to_mermaid(planned))
    if svg is not None:
        from mmkit.wiring.svg import to_svg

        svg.write_text(to_svg(planned), "utf-8")


def schema() -> None:
    """The JSON Schema of the spec, with the configs of the installed components."""
    from mmkit.discovery import discover
    from mmkit.wiring.schema import json_schema

    typer.echo(json.dumps(json_schema(discover()), indent=2))
