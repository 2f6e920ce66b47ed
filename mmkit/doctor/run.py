"""All checks, one after the other."""

import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mmkit.data.cache.folder import default_folder
from mmkit.discovery import discover
from mmkit.doctor import facts, installed, machine, packages
from mmkit.doctor.child import ACCELERATOR
from mmkit.doctor.finding import Finding, note, problem
from mmkit.doctor.libraries import LIBRARIES, TORCH, library
from mmkit.doctor.probe import probe


def examine() -> Iterator[Finding]:
    """Every finding as soon as it is known. A check that fails itself is a finding, too."""
    for name, check in CHECKS.items():
        try:
            yield from check()
        except Exception as error:
            text = f"could not be looked at: {type(error).__name__}: {error}"
            yield problem(name, text, "please report it to the authors of mmkit")


def _python() -> Iterator[Finding]:
    own = facts.package("mmkit")
    if own is None:
        yield note("python", "mmkit runs from its source and has no metadata", "pip install -e . in its folder")
    else:
        yield packages.python_version(platform.python_version(), own)


def _libraries() -> Iterator[Finding]:
    """Libraries, accelerator and threads, since torch is asked for all of them in one process."""
    found = {package.name: package for package in facts.packages(LIBRARIES)}
    torch, computing, broken = found.get(TORCH), None, False
    steps = [step for name in found for step in ((name, ACCELERATOR) if name == TORCH else (name,))]
    for answer in probe(steps):
        if answer["step"] != ACCELERATOR:
            yield library(found[answer["step"]], torch, answer)
            broken = broken or (answer["step"] == TORCH and "error" in answer)
        elif not broken:
            computing = answer.get("threads")
            yield machine.accelerator(answer, facts.nvidia_driver(), facts.no_device_is_visible())
    yield machine.threads(computing, facts.usable_cores(), os.cpu_count() or 1, os.environ.get("OMP_NUM_THREADS"))


def _memory() -> Iterable[Finding]:
    found = machine.shared_memory(facts.shared_memory())
    return [found] if found else []


def _disks() -> Iterator[Finding]:
    for check, path, elsewhere, needed in (
        ("cache", default_folder(), "set MMKIT_CACHE to another folder", True),
        ("downloads", facts.downloads(), "set HF_HOME to another folder", False),
        ("runs", Path.cwd(), "work in another folder, or give `train.output`", True),
    ):
        folder = facts.there(path)
        yield machine.disk(
            check, folder, shutil.disk_usage(folder).free, facts.writable(folder), elsewhere, needed=needed
        )


def _plugins() -> Iterator[Finding]:
    return installed.plugins(discover())


def _declared() -> list[packages.Package]:
    """mmkit, and every distribution with a plugin."""
    return facts.packages(["mmkit", *(report.distribution for report in discover().reports)])


CHECKS: dict[str, Callable[[], Iterable[Finding]]] = {
    "python": _python,
    "libraries": _libraries,
    "shared memory": _memory,
    "disk": _disks,
    "plugins": _plugins,
    "requirements": lambda: packages.requirements(_declared(), facts.installed),
    "extras": lambda: packages.extras(_declared(), facts.installed),
}
