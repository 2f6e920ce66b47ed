"""A prediction as a person reads it."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmkit.cli.output import to_json

MOST = 10


def in_words(result: Any) -> str:
    """Text as it is; a mapping as one line an entry, its largest numbers first; long lists of numbers cut."""
    if not isinstance(result, Mapping):
        return _value(result)
    wide = max((len(str(key)) for key in result), default=0)
    return "\n".join(f"{key!s:<{wide}}  {_value(value)}" for key, value in result.items())


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping) and value and all(_is_number(number) for number in value.values()):
        ranked = sorted(value.items(), key=lambda pair: -pair[1])
        more = f", … {len(ranked) - MOST} more" if len(ranked) > MOST else ""
        return ", ".join(f"{key} {number:.4g}" for key, number in ranked[:MOST]) + more
    if isinstance(value, Sequence) and value and all(_is_number(number) for number in value):
        more = f", … {len(value)} numbers" if len(value) > MOST else ""
        return "[" + ", ".join(f"{number:.4g}" for number in value[:MOST]) + more + "]"
    if isinstance(value, Sequence) and all(isinstance(text, str) for text in value):
        return ", ".join(value) if value else "(none)"
    return to_json(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
