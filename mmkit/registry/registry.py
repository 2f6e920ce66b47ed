"""The immutable registry: find a component by name, or say exactly why it cannot be had."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmkit.errors import PluginError, nearest
from mmkit.registry.component import KINDS, Component
from mmkit.registry.offers import Command, Importer, Migration, Renderer, ReportSection

SLOW = 0.5
"""Seconds; a plugin that takes longer to be listed is called slow."""
SAME_PLACE = {"vocabulary": "adapter", "continuous": "adapter"}
"""Kinds that a spec names at the place of another kind: their names must differ from those."""
NOUNS = {"continuous": "continuous adapter"}
"""What messages call a kind whose name is no noun."""


@dataclass(frozen=True)
class PluginReport:
    """What became of one installed plugin.

    Attributes:
        status: loaded, failed, clash, incompatible or excluded.
        reason: why it is not loaded, in one line; ``traceback`` has the rest. fix: what to do.
        notes: what a loaded one does that it should not: printing, importing torch, taking long.
        seconds: how long it took to be listed.
    """

    name: str
    distribution: str
    version: str
    status: str
    components: tuple[Component, ...] = ()
    reason: str = ""
    traceback: str = ""
    fix: str = ""
    notes: tuple[str, ...] = ()
    commands: tuple[Command, ...] = ()
    sections: tuple[ReportSection, ...] = ()
    renderers: tuple[Renderer, ...] = ()
    migrations: tuple[Migration, ...] = ()
    importers: tuple[Importer, ...] = ()
    seconds: float = 0.0

    @property
    def slow(self) -> bool:
        """Whether a list of plugins waits for it."""
        return self.seconds > SLOW

    def __str__(self) -> str:
        what = {"failed": "failed to load", "clash": "clashes", "loaded": "is loaded"}
        state = what.get(self.status, f"is {self.status}")
        return f"plugin {self.name!r} ({self.distribution} {self.version}) {state}" + f": {self.reason}" * bool(
            self.reason
        )


class Registry:
    """Everything the loaded plugins offer. Made once, never changed."""

    def __init__(self, reports: Iterable[PluginReport]) -> None:
        self.reports = tuple(reports)
        loaded = [report for report in self.reports if report.status == "loaded"]
        self.components = tuple(c for report in loaded for c in report.components)
        self.commands = tuple(c for report in loaded for c in report.commands)
        self.sections = tuple(s for report in loaded for s in report.sections)
        self.renderers = tuple(r for report in loaded for r in report.renderers)
        self.migrations = tuple(m for report in loaded for m in report.migrations)
        self.importers = tuple(i for report in loaded for i in report.importers)

    def of_kind(self, *kinds: str) -> list[Component]:
        """Components of these kinds, by name."""
        return sorted((c for c in self.components if c.kind in kinds), key=lambda c: (c.kind, c.name, c.plugin))

    def shadowed(self) -> list[tuple[Component, ...]]:
        """Components of different plugins that have one short name at one place of a spec, which need the full name."""
        same: dict[tuple[str, str], list[Component]] = {}
        for component in self.of_kind(*KINDS):
            same.setdefault((SAME_PLACE.get(component.kind, component.kind), component.name), []).append(component)
        return [tuple(group) for group in same.values() if len(group) > 1]

    def find(self, kinds: Sequence[str], name: str) -> Component:
        """The component that ``use: name`` means.

        Raises:
            PluginError: unknown (with the nearest name and any plugin that failed), or claimed by two plugins.
        """
        named = [c for c in self.of_kind(*kinds) if name in (c.name, c.full_name)]
        if len(named) == 1:
            return named[0]
        if named:
            owners = " and ".join(c.full_name for c in named)
            raise PluginError(f"{name!r} is offered by {owners}: write one of these full names")
        raise PluginError(self._unknown(kinds, name))

    def _unknown(self, kinds: Sequence[str], name: str) -> str:
        elsewhere = [c for c in self.components if c.name == name]
        nouns = [NOUNS.get(kind, kind) for kind in kinds]
        wanted = " or ".join([part for part in (", ".join(nouns[:-1]), nouns[-1]) if part])
        if elsewhere:
            kind = NOUNS.get(elsewhere[0].kind, elsewhere[0].kind)
            article = "an" if kind[0] in "aeiou" else "a"
            return f"{name!r} is {article} {kind}, wanted here: {wanted}"
        text = f"unknown {wanted} {name!r}: {nearest(name, [c.name for c in self.of_kind(*kinds)])}"
        for report in self.reports:
            if report.status != "loaded":
                text += f"; {report}"
        return text
