"""Messages about a row without what the row holds: logs name the address, and who may read the row looks there."""

import re
from collections.abc import Mapping
from typing import Any

SHORT = 40
"""Characters of a value that an error which stops the run still shows: a label, a number, a file's name."""
_PREFIX = 12


def masked(message: str, row: Mapping[str, Any], longest: int = 0) -> str:
    """The message with every value of the row replaced by its column's name and length, also where it was cut.

    Args:
        longest: values of at most so many characters stay.
    """
    values = {column: _text(value) for column, value in row.items()}
    for column, text in sorted(values.items(), key=lambda pair: -len(pair[1])):
        if len(text) > longest and text:
            message = _without(message, text, f"<{column}, {len(text)} characters>")
    return message


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return ""
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""


def _without(message: str, text: str, shown: str) -> str:
    for quoted in {repr(text), f"'{text}'", f'"{text}"'}:
        message = message.replace(quoted, shown)
    if len(text) < _PREFIX:
        return re.sub(rf"(?<![\w.'<]){re.escape(text)}(?![\w'])", lambda _: shown, message) if text.strip() else message
    forms = (text, repr(text)[1:-1])
    while (at := max(message.find(form[:_PREFIX]) for form in forms)) >= 0:
        end = at + max(_shared(message[at:], form) for form in forms)
        message = message[:at] + shown + message[end:]
    return message


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
