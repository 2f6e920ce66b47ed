"""Plugins: those that are not loaded, with the cure, and what the others do that they should not."""

from collections.abc import Iterator

from mmkit.doctor.finding import Finding, note, ok, problem
from mmkit.registry.registry import Registry


def plugins(registry: Registry) -> Iterator[Finding]:
    """One line for those that work, and one for every fault."""
    loaded = [report for report in registry.reports if report.status == "loaded"]
    if not registry.reports:
        yield problem("plugins", "none is installed", "pip install mmkit-image mmkit-audio mmkit-text mmkit-tasks")
    if loaded:
        yield ok("plugins", "loaded: " + ", ".join(f"{one.name} ({one.distribution} {one.version})" for one in loaded))
    for report in registry.reports:
        if report.status == "excluded":
            yield note("plugins", str(report), report.fix)
        elif report.status != "loaded":
            yield problem("plugins", str(report), report.fix)
        for text in report.notes:
            yield note("plugins", f"plugin {report.name!r} ({report.distribution} {report.version}) {text}")
    for group in registry.shadowed():
        names = " and ".join(component.full_name for component in group)
        yield note("plugins", f"{group[0].name!r} is offered by {names}", "write one of these full names after use:")
