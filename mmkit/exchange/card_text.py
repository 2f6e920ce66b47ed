"""Text of users in a model card: it can break neither the YAML at its head nor its Markdown, and no HTML comes of it."""

import re
import unicodedata

LONGEST = 300


def plain(value: object, longest: int = LONGEST) -> str:
    """One line without control characters (of line ends, of direction), cut where it is longer."""
    text = " ".join(str(value).split())
    text = "".join(
        letter for letter in text if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    )
    return text if len(text) <= longest else f"{text[:longest]} …"


def code(value: object) -> str:
    """Markdown that shows the text as it is, in a paragraph as in a cell of a table.

    Nothing is markup in a code span. What could end one, or a cell, is written in entities, which are never markup either
    (CommonMark 0.31, 6.1 and 2.5).
    """
    text = plain(value)
    if not text:
        return "(empty)"
    if not set(text) & set("`|\\"):
        return f"`{text}`"
    return "<code>" + re.sub(r"[^\w\s]", lambda found: f"&#{ord(found.group())};", text) + "</code>"


def base_name(path: str) -> str:
    """The last part of a path or URL: nothing of where it lies, no query with a key in it."""
    clean = re.split(r"[?#]", path)[0] if "://" in path else path
    return re.split(r"[/\\]", clean.rstrip("/\\"))[-1]


def slug(value: object) -> str:
    """Letters, digits, ``.``, ``_`` and ``-``; as tags and names of data sets are."""
    return re.sub(r"[^\w.-]+", "-", plain(value, 80)).strip("-") or "unnamed"
