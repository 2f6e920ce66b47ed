"""What every vocabulary asks of a text, and the nearest of some names."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from mmkit import DataError, SampleError

EXAMPLE = "sentence of 9 words", "A man is riding a horse along the beach."
"""A typical text, for the figures of ``mmkit check``: what it is, and itself."""


def checked(raw: Any) -> str:
    """The value, if it is a text that UTF-8 can write.

    Raises:
        SampleError: not a ``str``, or one with half a surrogate pair in it.
    """
    if not isinstance(raw, str):
        raise SampleError(f"text must be a str, got {type(raw).__name__}")
    try:
        raw.encode()
    except UnicodeEncodeError as error:
        raise SampleError(
            f"text has half a surrogate pair, U+{ord(raw[error.start]):04X}, at character {error.start}, which is no "
            "Unicode text; read its file with errors='replace'"
        ) from None
    return raw


def usable(raws: Iterable[Any], who: str) -> Iterator[str]:
    """Texts for a vocabulary to learn from; others are met, and counted, when their samples are prepared.

    Raises:
        DataError: there is no text at all; ``who`` would learn from them.
    """
    found = False
    for raw in raws:
        try:
            text = checked(raw)
        except SampleError:
            continue
        if text.strip():
            found = True
            yield text
    if not found:
        raise DataError(f"{who} has no text to learn from: the training data has no column of this modality")


def nearest(got: str, allowed: Iterable[str]) -> str:
    """A did-you-mean sentence; without a near name, the first ten of the list."""
    names = sorted(allowed)
    close = get_close_matches(got, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"allowed: {', '.join(names[:10])}{' …' if len(names) > 10 else ''}"
