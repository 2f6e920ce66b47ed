"""A check: one sentence that is true of a component, and what to do where it is not. Imports no torch."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmkit.testing.subject import Subject

LEVELS = ("bronze", "silver", "gold")
KINDS = ("encoder", "adapter", "vocabulary", "continuous", "backbone", "head")
BESIDE = ("source", "metric", "callback")
ALL = (*KINDS, *BESIDE)
MODULES = ("encoder", "adapter", "backbone", "head")

MINIMUM = {
    "encoder": 24,
    "adapter": 20,
    "vocabulary": 16,
    "continuous": 16,
    "backbone": 22,
    "head": 20,
    "source": 10,
    "metric": 9,
    "callback": 8,
}
"""Checks that have to run on a component, lest a kit that checks nothing stays green."""


class NotApplicable(Exception):  # noqa: N818 - not an error
    """The check says nothing about this component; the text says why."""


class BrokenError(AssertionError):
    """The component does not do what the check says."""


@dataclass(frozen=True)
class Check:
    """One thing that a component is held to.

    Attributes:
        name: as waivers name it.
        about: what is true of a component that passes.
        level: the lowest level that needs it: bronze, silver, gold.
        kinds: kinds of component it says something about.
        mend: what to do if it fails.
        run: raises if it is not true.
    """

    name: str
    about: str
    level: str
    kinds: tuple[str, ...]
    mend: str
    run: "Callable[[Subject], Any]"


def reached(failed: Collection[str]) -> str:
    """The highest level below the lowest of those at which a check failed; empty where that is the first."""
    lowest = min((LEVELS.index(level) for level in failed), default=len(LEVELS))
    return LEVELS[lowest - 1] if lowest else ""


def enough(kind: str, statuses: Collection[str]) -> bool:
    """Whether as many checks ran as the kind asks for."""
    return sum(status != "skipped" for status in statuses) >= MINIMUM[kind]


def check(level: str, kinds: tuple[str, ...], mend: str) -> "Callable[[Callable[[Subject], Any]], Check]":
    """Make a check of a function; its name and docstring say what is true."""

    def make(function: "Callable[[Subject], Any]") -> Check:
        about = " ".join((function.__doc__ or "").split()).rstrip(".")
        return Check(function.__name__, about, level, kinds, mend, function)

    return make


def require(holds: bool, text: str) -> None:
    """Fail a check.

    Raises:
        BrokenError: it does not hold.
    """
    if not holds:
        raise BrokenError(text)
