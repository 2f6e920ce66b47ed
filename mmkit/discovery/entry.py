"""One entry point → one report. Whatever a plugin does when it is imported, the host goes on and says what happened."""

import contextlib
import io
import re
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import pluggy

from mmkit.discovery.hookspecs import HOOKS
from mmkit.discovery.offers import NOTHING, Misdeclared, Offers, ask
from mmkit.registry.component import API_VERSION, SUPPORTED_APIS
from mmkit.registry.registry import SLOW, PluginReport

PATIENCE = 10.0
"""Seconds that a plugin may take to be listed."""
_WAITED = "its modules must do nothing but define when they are imported; MMKIT_PLUGIN_SECONDS=60 waits longer"
HEAVY = ("torch", "tensorflow", "jax", "transformers")
_NAMED, _VERSION = re.compile(r"^Name: *(\S+)", re.MULTILINE), re.compile(r"^Version: *(\S+)", re.MULTILINE)


def load_entries(entries: Sequence[metadata.EntryPoint], patience: float = PATIENCE) -> list[PluginReport]:
    """Import plugins and ask what they offer, one report each; never raises for a plugin's fault.

    A plugin that takes longer than ``patience`` seconds is given up; its thread is left behind, and another goes on.
    """
    reports: list[PluginReport] = []
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.redirect_stderr(printed):
        while len(reports) < len(entries):
            worker = _Worker(entries[len(reports) :], printed)
            worker.start()
            reports += worker.wait(patience)
            if len(reports) < len(entries):
                reason = f"it was not there after {patience:g} s of importing"
                reports.append(report(entries[len(reports)], "failed", reason, fix=_WAITED))
    return reports


def load_entry(entry: metadata.EntryPoint, patience: float = PATIENCE) -> PluginReport:
    """One plugin; never raises for its fault."""
    return load_entries([entry], patience)[0]


class _Worker(threading.Thread):
    """Loads one plugin after the other; a thread for each would cost more than the plugins."""

    def __init__(self, entries: Sequence[metadata.EntryPoint], printed: io.StringIO) -> None:
        super().__init__(daemon=True, name="mmkit plugins")
        self.entries, self.printed = entries, printed
        self.reports: list[PluginReport] = []
        self.since = time.perf_counter()
        self.given_up = False
        self.lock = threading.Lock()

    def run(self) -> None:
        for entry in self.entries:
            found = _load(entry, self.printed)
            with self.lock:
                if self.given_up:
                    return
                self.reports.append(found)
                self.since = time.perf_counter()

    def wait(self, patience: float) -> list[PluginReport]:
        """The reports of all plugins, or of those before one that takes too long."""
        while self.is_alive():
            self.join(max(0.0, self.since + patience - time.perf_counter()))
            with self.lock:
                if time.perf_counter() - self.since > patience and len(self.reports) < len(self.entries):
                    self.given_up = True
                    break
        return self.reports


def _load(entry: metadata.EntryPoint, printed: io.StringIO) -> PluginReport:
    printed.seek(0)
    printed.truncate()
    before, started = set(HEAVY) & set(sys.modules), time.perf_counter()
    try:
        found = ask(entry.load(), entry.name)
    except BaseException as error:
        trace = "".join(traceback.format_exception(error))
        return report(entry, "failed", _reason(error), fix=_fix(error, entry), trace=trace)
    seconds = time.perf_counter() - started
    foreign = [c.api for c in found.components if c.api not in SUPPORTED_APIS]
    if foreign:
        return _incompatible(entry, foreign[0])
    heavy = sorted((set(HEAVY) & set(sys.modules)) - before)
    notes = _notes(printed.getvalue(), heavy, seconds, min((c.api for c in found.components), default=API_VERSION))
    return report(entry, "loaded", offers=found, notes=notes, seconds=seconds)


def _incompatible(entry: metadata.EntryPoint, api: object) -> PluginReport:
    if not isinstance(api, int):
        fix = f"give the number of the plugin API it is written for, such as api={API_VERSION}"
        return report(entry, "failed", f"a component has api {api!r}", fix=fix)
    older = "".join(f" and loads {one} too" for one in SUPPORTED_APIS[:-1])
    reason = f"written for plugin API {api}, this mmkit has {API_VERSION}{older}"
    return report(
        entry,
        "incompatible",
        reason,
        fix=f"install a newer {'mmkit' if api > API_VERSION else 'version of the plugin'}",
    )


def report(
    entry: metadata.EntryPoint,
    status: str,
    reason: str = "",
    fix: str = "",
    offers: Offers = NOTHING,
    notes: tuple[str, ...] = (),
    trace: str = "",
    seconds: float = 0.0,
) -> PluginReport:
    """A report with the distribution's name and version."""
    name, version = owner(entry)
    told: dict[str, Any] = {"reason": reason, "traceback": trace, "fix": fix, "notes": notes, "seconds": seconds}
    return PluginReport(entry.name, name, version, status, **told, **vars(offers))


def owner(entry: metadata.EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution that an entry point comes from."""
    dist = entry.dist
    if dist is None:
        return "unknown distribution", "?"
    text = dist.read_text("METADATA") or ""  # dist.name and dist.version would parse it twice, description included
    name, version = _NAMED.search(text), _VERSION.search(text)
    return name[1] if name else dist.name, version[1] if version else dist.version


def _reason(error: BaseException) -> str:
    lines = str(error).splitlines()
    if isinstance(error, Misdeclared):
        return lines[0]
    return f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": ")


def _fix(error: BaseException, entry: metadata.EntryPoint) -> str:
    if isinstance(error, Misdeclared):
        return error.fix
    if isinstance(error, ModuleNotFoundError) and error.name:
        top = error.name.partition(".")[0]
        if top == entry.module.partition(".")[0]:
            return f"reinstall it: its entry point names {entry.value}, which is not there"
        return f"install what it needs: pip install {top}"
    if isinstance(error, ImportError) and error.name == "mmkit":
        return f"it was written for another mmkit: install a newer mmkit, or the version of {owner(entry)[0]} that fits"
    if isinstance(error, pluggy.PluginValidationError):
        return f"the hooks are {', '.join(HOOKS)}, and take no arguments"
    name, version = owner(entry)
    return f"report it to the authors of {name} {version}, or uninstall it; `mmkit plugins --traceback` shows where"


def _notes(printed: str, heavy: list[str], seconds: float, api: int) -> tuple[str, ...]:
    notes = []
    if api < API_VERSION:
        notes.append(f"is written for plugin API {api}; a later mmkit will load {API_VERSION} and newer")
    if printed.strip():
        notes.append(f"printed when it was imported: {printed.strip().splitlines()[0][:60]!r}")
    if heavy:
        notes.append(f"imports {', '.join(heavy)} to be listed")
    if seconds > SLOW:
        notes.append(f"took {seconds:.1f} s to be listed")
    return tuple(notes)
