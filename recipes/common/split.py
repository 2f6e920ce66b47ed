"""Splits by content: what decides is a hash of a key, so that near-duplicates land on one side, always the same."""

import hashlib
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

Row = TypeVar("Row", bound=Mapping[str, Any])


def position(key: str, seed: str = "") -> float:
    """A number in [0, 1) that depends only on the content of ``key`` (SHA-1; not Python's salted ``hash``)."""
    digest = hashlib.sha1(f"{seed}\n{normal_key(key)}".encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def normal_key(key: str) -> str:
    """Compatibility form, case folded, white space collapsed: spellings of one thing give one key."""
    return " ".join(unicodedata.normalize("NFKC", key).casefold().split())


def held_out(key: str, share: float, seed: str = "") -> bool:
    """Whether ``key`` belongs to the held-out ``share``; growing the share only adds keys."""
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in 0…1, got {share}")
    return position(key, seed) < share


def split(
    rows: Iterable[Row], key: Callable[[Row], str], *, test: float, valid: float = 0.0, seed: str = ""
) -> dict[str, list[Row]]:
    """Rows as ``train``, ``valid`` and ``test`` by the hash of their key, in their given order."""
    if not 0 <= test + valid <= 1:
        raise ValueError(f"test + valid must lie in 0…1, got {test} + {valid}")
    parts: dict[str, list[Row]] = {"train": [], "valid": [], "test": []}
    for row in rows:
        at = position(key(row), seed)
        parts["test" if at < test else "valid" if at < test + valid else "train"].append(row)
    return parts


def shuffled(rows: Iterable[Row], key: Callable[[Row], str], seed: str = "") -> list[Row]:
    """Rows in an order that looks random and never changes."""
    return sorted(rows, key=lambda row: position(key(row), "order" + seed))
