"""How mmkit says that a name will go: since when, until when, and what to use. Imports nothing heavy."""

from collections.abc import Callable
from typing import Any, TypeVar

Named = TypeVar("Named", bound=Callable[..., Any])


def deprecated(*, since: str, removal: str, instead: str) -> Callable[[Named], Named]:
    """Decorator of a function or class that still works, and warns where it is called or derived from.

    Args:
        since: version of mmkit that says so first. removal: version without it. instead: what to use.
    """
    from typing_extensions import deprecated as marked

    def mark(named: Named) -> Named:
        return marked(message(named.__qualname__, since=since, removal=removal, instead=instead))(named)

    return mark


def message(what: str, *, since: str, removal: str, instead: str) -> str:
    """What such a warning says; also for an argument or an option, with ``warnings.warn(…, DeprecationWarning)``."""
    return f"{what} is deprecated since mmkit {since} and goes with {removal}: use {instead}"
