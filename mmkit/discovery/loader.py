"""One scan per process; each plugin in a manager of its own, so that a broken one harms nobody else."""

import contextlib
import io
import os
import traceback
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from importlib import metadata
from types import ModuleType

import pluggy

from mmkit.discovery import hookspecs
from mmkit.registry.component import API_VERSION, KINDS, Component
from mmkit.registry.registry import PluginReport, Registry

GROUP = "mmkit"


@lru_cache(maxsize=1)
def discover() -> Registry:
    """The registry of this process, from the installed entry points and ``MMKIT_PLUGINS`` (an allow-list)."""
    allowed = os.environ.get("MMKIT_PLUGINS")
    names = None if allowed is None else {name.strip() for name in allowed.split(",") if name.strip()}
    return Registry(load_all(metadata.entry_points(group=GROUP), names))


def plugins() -> tuple[PluginReport, ...]:
    """What became of every installed plugin."""
    return discover().reports


def load_all(entries: Iterable[metadata.EntryPoint], allowed: set[str] | None = None) -> list[PluginReport]:
    """Load every entry point; never raises for a plugin's fault."""
    by_name: dict[str, list[metadata.EntryPoint]] = defaultdict(list)
    for entry in entries:
        if entry not in by_name[entry.name]:
            by_name[entry.name].append(entry)
    reports = []
    for name, same in sorted(by_name.items()):
        if allowed is not None and name not in allowed:
            reports += [_report(entry, "excluded", reason="not in MMKIT_PLUGINS") for entry in same]
        elif len(same) > 1:
            owners = " and ".join(f"{_dist(entry)[0]} ({entry.value})" for entry in same)
            reason = f"two distributions claim the plugin name {name!r}: {owners}; uninstall one"
            reports += [_report(entry, "clash", reason=reason) for entry in same]
        else:
            reports.append(_load(same[0]))
    return reports


def _load(entry: metadata.EntryPoint) -> PluginReport:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            module = entry.load()
            components = _call(module, entry.name)
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".rstrip(": ")
        return _report(entry, "failed", reason=reason, trace=traceback.format_exc())
    old = [c for c in components if c.api != API_VERSION]
    if old:
        reason = f"written for plugin API {old[0].api}, this mmkit has {API_VERSION}"
        return _report(entry, "incompatible", reason=reason)
    return _report(entry, "loaded", components=components)


def _call(module: ModuleType, name: str) -> tuple[Component, ...]:
    manager = pluggy.PluginManager("mmkit")
    manager.add_hookspecs(hookspecs)
    manager.register(module, name)
    manager.check_pending()
    found: list[Component] = []
    for records in manager.hook.mmkit_components():
        for record in records:
            if not isinstance(record, Component):
                raise TypeError(f"mmkit_components returned a {type(record).__name__}, wanted mmkit.Component")
            if record.kind not in KINDS:
                raise ValueError(f"component {record.name!r} has kind {record.kind!r}; allowed: {', '.join(KINDS)}")
            found.append(Component(**{**record.__dict__, "plugin": name}))
    if not found:
        raise ValueError("the plugin offers no components (is @mmkit.hookimpl missing?)")
    keys = [(c.kind, c.name) for c in found]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"declared twice: {', '.join(' '.join(key) for key in twice)}")
    return tuple(found)


def _dist(entry: metadata.EntryPoint) -> tuple[str, str]:
    dist = entry.dist
    return (dist.name, dist.version) if dist is not None else ("unknown distribution", "?")


def _report(
    entry: metadata.EntryPoint, status: str, components: tuple[Component, ...] = (), reason: str = "", trace: str = ""
) -> PluginReport:
    name, version = _dist(entry)
    return PluginReport(entry.name, name, version, status, components, reason, trace)
