"""One scan per process; each plugin in a manager of its own, so that a broken one harms nobody else."""

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from importlib import metadata

from mmkit.discovery.entry import PATIENCE, load_entries, owner, report
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


def patience() -> float:
    """Seconds that a plugin may take to be listed: ``MMKIT_PLUGIN_SECONDS``, where that is a number above 0."""
    with contextlib.suppress(ValueError):
        given = float(os.environ.get("MMKIT_PLUGIN_SECONDS", ""))
        return given if given > 0 else PATIENCE
    return PATIENCE


def load_all(entries: Iterable[metadata.EntryPoint], allowed: set[str] | None = None) -> list[PluginReport]:
    """Load every entry point; never raises for a plugin's fault."""
    by_name: dict[str, list[metadata.EntryPoint]] = defaultdict(list)
    for entry in entries:
        if entry not in by_name[entry.name]:
            by_name[entry.name].append(entry)
    reports: list[PluginReport] = []
    single = []
    for name, same in by_name.items():
        if allowed is not None and name not in allowed:
            fix = "add it to MMKIT_PLUGINS"
            reports += [report(entry, "excluded", "not in MMKIT_PLUGINS", fix) for entry in same]
        elif len(same) > 1:
            owners = " and ".join(f"{owner(entry)[0]} ({entry.value})" for entry in same)
            reason = f"two distributions claim the plugin name {name!r}: {owners}; uninstall one"
            reports += [report(entry, "clash", reason, "uninstall one of them") for entry in same]
        else:
            single += same
    reports += load_entries(sorted(single, key=lambda entry: entry.name), patience())
    return sorted(reports, key=lambda report: report.name)
