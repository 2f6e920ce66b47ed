"""Every exception mmkit raises on purpose.

MmkitError
├── SpecError            the spec is wrong; carries every problem found, each with its place
├── PluginError          a plugin is missing, broken, clashing, or breaks its contract
├── DataError            a data source as a whole cannot be used
│   └── SampleError      one sample cannot be used; the run may skip it
├── CheckpointError      a saved model is corrupt, foreign, or needs plugins that are not there
└── TrainingError        training cannot go on (for example a NaN loss)

This module imports nothing heavy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches


class MmkitError(Exception):
    """Base of all errors a user can cause or mend.

    Attributes:
        quiet: another process of the run says it already.
    """

    quiet: bool = False


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a spec: what, where, what to do."""

    path: str
    message: str
    fix: str = ""
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else (f"{self.file}: " if self.file else "")
        fix = f"\n    fix: {self.fix}" if self.fix else ""
        return f"{place}{self.path or '(top)'}: {self.message}{fix}"


class SpecError(MmkitError):
    """The spec is wrong. ``problems`` lists everything found, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        many = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"the spec has {many}:\n" + "\n".join(f"  {problem}" for problem in self.problems))


class PluginError(MmkitError):
    """A plugin is missing, broken, clashing, or breaks its contract."""


class DataError(MmkitError):
    """A data source as a whole cannot be used."""


class SampleError(DataError):
    """One sample cannot be used; the run may skip and count it."""


class CheckpointError(MmkitError):
    """A saved model is corrupt, foreign, or needs plugins that are not installed."""


class TrainingError(MmkitError):
    """Training cannot go on."""


def nearest(got: str, allowed: Sequence[str]) -> str:
    """A did-you-mean sentence: the nearest allowed name, else the whole list."""
    close = get_close_matches(got, allowed, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "allowed: " + (", ".join(sorted(allowed)) or "nothing here")
