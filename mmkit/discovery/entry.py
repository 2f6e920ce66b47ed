"""One entry point → one report. Whatever a plugin does when it is imported, the host goes on and says what happened."""

import contextlib
import io
import sys
import threading
import time
import traceback
from importlib import metadata

import pluggy

from mmkit.discovery.hookspecs import HOOKS
from mmkit.discovery.offers import NOTHING, Misdeclared, Offers, ask
from mmkit.registry.component import API_VERSION
from mmkit.registry.registry import PluginReport

PATIENCE = 10.0
"""Seconds that a plugin may take to be listed."""
_WAITED = "its modules must do nothing but define when they are imported; MMKIT_PLUGIN_SECONDS=60 waits longer"
HEAVY = ("torch", "tensorflow", "jax", "transformers")


def load_entry(entry: metadata.EntryPoint, patience: float = PATIENCE) -> PluginReport:
    """Import a plugin and ask what it offers; never raises for the plugin's fault.

    A plugin that takes longer than ``patience`` seconds is given up; its thread is left behind.
    """
    found: list[Offers | BaseException] = []

    def work() -> None:
        try:
            found.append(ask(entry.load(), entry.name))
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
    old = [c for c in outcome.components if c.api != API_VERSION]
    if old:
        reason = f"written for plugin API {old[0].api}, this mmkit has {API_VERSION}"
        which = "a newer mmkit" if old[0].api > API_VERSION else "a newer version of the plugin"
        return report(entry, "incompatible", reason, fix=f"install {which}")
    heavy = sorted((set(HEAVY) & set(sys.modules)) - before)
    return report(entry, "loaded", offers=outcome, notes=_notes(printed.getvalue(), heavy, seconds))


def report(
    entry: metadata.EntryPoint,
    status: str,
    reason: str = "",
    fix: str = "",
    offers: Offers = NOTHING,
    notes: tuple[str, ...] = (),
    trace: str = "",
) -> PluginReport:
    """A report with the distribution's name and version."""
    name, version = owner(entry)
    return PluginReport(
        entry.name, name, version, status, reason=reason, traceback=trace, fix=fix, notes=notes, **vars(offers)
    )


def owner(entry: metadata.EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution that an entry point comes from."""
    dist = entry.dist
    return (dist.name, dist.version) if dist is not None else ("unknown distribution", "?")


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
        return f"the hooks are {', '.join(HOOKS)}, and take no arguments"
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
