"""The libraries that break most: torch, what is built against it, and what the plugins take their models from."""

from collections.abc import Mapping
from typing import Any

from mmkit.doctor.finding import Finding, note, ok, problem
from mmkit.doctor.packages import Package, misfit

TORCH = "torch"
COMPANIONS = ("torchvision", "torchaudio")
LIBRARIES = (TORCH, *COMPANIONS, "transformers", "timm")
SLOW = 5.0
"""Seconds; importing a library takes that long where the disk is slow."""


def library(package: Package, torch: Package | None, answer: Mapping[str, Any]) -> Finding:
    """Whether it fits torch and can be imported; ``answer`` is the child's."""
    name, error = package.name, answer.get("error", "")
    wrong = misfit(package, torch) if torch is not None and name in COMPANIONS else None
    if wrong is not None:
        text = f"{wrong.text}; it cannot be imported: {error}" if error else wrong.text
        return problem(name, text, wrong.fix) if error else wrong
    version = package.build or package.version
    if error:
        return problem(name, f"{version} cannot be imported: {error}", _cure(package, error))
    text = f"{version}, imported in {answer['seconds']:.1f} s"
    if answer["seconds"] > SLOW:
        return note(name, f"{text}: the machine is busy, or its disk is slow")
    return ok(name, text)


def _cure(package: Package, error: str) -> str:
    again = f"pip install --force-reinstall '{package.name}=={package.version}'"
    if error.startswith("it was not there"):
        return f"see whether the machine is busy or its disk slow: python -X importtime -c 'import {package.name}'"
    if "lib" in error and ".so" in error:
        return f"{again}; a library of the system is missing, or of another version than the one it was built for"
    return again
