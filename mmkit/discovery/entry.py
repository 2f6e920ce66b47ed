"""One entry point → one report. Whatever a plugin does when it is imported, the host goes on and says what happened."""

import contextlib
import io
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from importlib import metadata
from types import ModuleType

import pluggy

from mmkit.discovery import hookspecs
from mmkit.errors import nearest
from mmkit.registry.component import API_VERSION, KINDS, Component
from mmkit.registry.registry import PluginReport

PATIENCE = 10.0
"""Seconds that a plugin may take to be listed."""
_WAITED = "its modules must do nothing but define when they are imported; MMKIT_PLUGIN_SECONDS=60 waits longer"
HEAVY = ("torch", "tensorflow", "jax", "transformers")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class Misdeclared(ValueError):  # noqa: N818 - a finding, which becomes a report
    """The plugin was imported, and what it offers cannot be used; ``fix`` says what its author has to do."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.fix = fix


def load_entry(entry: metadata.EntryPoint, patience: float = PATIENCE) -> PluginReport:
    """Import a plugin and ask for its components; never raises for the plugin's fault.

    A plugin that takes longer than ``patience`` seconds is given up; its thread is left behind.
    """
    found: list[tuple[Component, ...] | BaseException] = []

    def work() -> None:
        try:
            found.append(_components(entry.load(), entry.name))
        except BaseException as error:
            found.append(error)

    printed, before, started = io.StringIO(), set(HEAVY) & set(sys.modules), time.perf_counter()
    thread = threading.Thread(target=work, daemon=True, name=f"mmkit plugin {entry.name}")
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        thread.start()
        thread.join(patience)
    seconds = time.perf_counter() - started
    if not found:
        reason = f"it was not there after {patience:g} s of importing"
        return report(entry, "failed", reason, fix=_WAITED)
    outcome = found[0]
    if isinstance(outcome, BaseException):
        trace = "".join(traceback.format_exception(outcome))
        return report(entry, "failed", _reason(outcome), fix=_fix(outcome, entry), trace=trace)
    old = [c for c in outcome if c.api != API_VERSION]
    if old:
        reason = f"written for plugin API {old[0].api}, this mmkit has {API_VERSION}"
        which = "a newer mmkit" if old[0].api > API_VERSION else "a newer version of the plugin"
        return report(entry, "incompatible", reason, fix=f"install {which}")
    heavy = sorted((set(HEAVY) & set(sys.modules)) - before)
    return report(entry, "loaded", components=outcome, notes=_notes(printed.getvalue(), heavy, seconds))


def report(
    entry: metadata.EntryPoint,
    status: str,
    reason: str = "",
    fix: str = "",
    components: tuple[Component, ...] = (),
    notes: tuple[str, ...] = (),
    trace: str = "",
) -> PluginReport:
    """A report with the distribution's name and version."""
    name, version = owner(entry)
    return PluginReport(entry.name, name, version, status, components, reason, trace, fix, notes)


def owner(entry: metadata.EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution that an entry point comes from."""
    dist = entry.dist
    return (dist.name, dist.version) if dist is not None else ("unknown distribution", "?")


def _components(module: ModuleType, name: str) -> tuple[Component, ...]:
    manager = pluggy.PluginManager("mmkit")
    manager.add_hookspecs(hookspecs)
    manager.register(module, name)
    manager.check_pending()
    found: list[Component] = []
    for records in manager.hook.mmkit_components():
        if not isinstance(records, Iterable):
            raise Misdeclared(
                f"mmkit_components returned a {type(records).__name__}", "return a list of mmkit.Component"
            )
        for record in records:
            _check(record)
            found.append(Component(**{**record.__dict__, "plugin": name}))
    if not found:
        raise Misdeclared(
            "the plugin offers no components", "define mmkit_components, and mark it with @mmkit.hookimpl"
        )
    keys = [(c.kind, c.name) for c in found]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise Misdeclared(f"declared twice: {', '.join(' '.join(key) for key in twice)}", "give each its own name")
    return tuple(found)


def _check(record: object) -> None:
    if not isinstance(record, Component):
        raise Misdeclared(
            f"mmkit_components returned a {type(record).__name__} among its records", "return mmkit.Component records"
        )
    who = f"component {record.name!r}"
    if record.kind not in KINDS:
        raise Misdeclared(f"{who} has kind {record.kind!r}", nearest(str(record.kind), KINDS))
    if not isinstance(record.name, str) or not _NAME.fullmatch(record.name):
        raise Misdeclared(
            f"{who} cannot be written after use:",
            "use lower-case letters, digits, '-', '_' and '.', none of them first",
        )
    for field in ("builder", "config"):
        path = getattr(record, field)
        if not isinstance(path, str) or not _PATH.fullmatch(path):
            raise Misdeclared(f"{who} has {field} {path!r}", "give an import path, module:name")


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
    if isinstance(error, pluggy.PluginValidationError):
        return "its hook has to be called mmkit_components and to take no arguments"
    name, version = owner(entry)
    return f"report it to the authors of {name} {version}, or uninstall it; `mmkit plugins --traceback` shows where"


def _notes(printed: str, heavy: list[str], seconds: float) -> tuple[str, ...]:
    notes = []
    if printed.strip():
        notes.append(f"printed when it was imported: {printed.strip().splitlines()[0][:60]!r}")
    if heavy:
        notes.append(f"imports {', '.join(heavy)} to be listed")
    if seconds > 0.5:
        notes.append(f"took {seconds:.1f} s to be listed")
    return tuple(notes)
