"""What a check says: one line, and the cure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line of ``mmkit doctor``.

    Attributes:
        check: what was looked at.
        status: ``ok``, ``note`` (works, and is worth knowing) or ``problem``.
        text: what was found. fix: what to do.
    """

    check: str
    status: str
    text: str
    fix: str = ""


def ok(check: str, text: str) -> Finding:
    """As it should be."""
    return Finding(check, "ok", text)


def note(check: str, text: str, fix: str = "") -> Finding:
    """Works, and is worth knowing."""
    return Finding(check, "note", text, fix)


def problem(check: str, text: str, fix: str) -> Finding:
    """Has to be mended."""
    return Finding(check, "problem", text, fix)
