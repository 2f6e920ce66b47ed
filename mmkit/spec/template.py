"""Task templates: ``"{image} Describe the picture."`` → parts. Parts are structure; user text never is."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Literal:
    """Text of the template itself."""

    text: str


@dataclass(frozen=True)
class Slot:
    """A place that a column of the data fills."""

    column: str


_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def parse(template: str) -> tuple[Literal | Slot, ...]:
    """Parts of a template; ``{{`` and ``}}`` are braces. White space alone between two slots is dropped.

    Raises:
        ValueError: an unbalanced brace or a slot that is not a plain name.
    """
    parts: list[Literal | Slot] = []
    text, at = "", 0
    for match in _TOKEN.finditer(template):
        text += template[at : match.start()]
        at = match.end()
        token = match.group()
        if token in ("{{", "}}"):
            text += token[0]
        elif match.group(1) is None:
            raise ValueError(f"unbalanced {token!r} at character {match.start()}; write {token * 2!r} for a brace")
        elif not match.group(1).strip().isidentifier():
            raise ValueError(f"{token!r} is not a column name")
        else:
            if text.strip():
                parts.append(Literal(text))
            text = ""
            parts.append(Slot(match.group(1).strip()))
    text += template[at:]
    if text.strip():
        parts.append(Literal(text))
    return tuple(parts)
