"""What the ids of a tokenizer spell, told from how it decodes."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from tokenizers import Tokenizer

from mmkit import PluginError

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_HARMLESS = ("Fuse", "Strip")


def pieces_of(tokenizer: Tokenizer, size: int) -> list[bytes | None]:
    """UTF-8 of the ids 0 … size-1 as they stand inside a text; None of ids that there are not, or that spell nothing.

    Raises:
        PluginError: tokens are not written one after another.
    """
    document = json.loads(tokenizer.to_str())
    spelt = _spelling(document.get("decoder"))
    added = {token["id"]: token["content"] for token in document.get("added_tokens") or []}
    found: list[bytes | None] = [None] * size
    for token, number in tokenizer.get_vocab(with_added_tokens=True).items():
        if number < size:
            found[number] = (added[number].encode() if number in added else spelt(token)) or None
    return found


def _spelling(decoder: Mapping[str, Any] | None) -> Callable[[str], bytes]:
    """Token → bytes by the tokenizer's decoder: byte-level BPE, or sentencepiece with spaces as a sign and, maybe, single bytes."""
    parts = [] if decoder is None else decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]
    kinds = [part["type"] for part in parts if part["type"] not in _HARMLESS]
    if kinds == ["ByteLevel"]:
        bytes_of = {sign: bytes([number]) for number, sign in _byte_signs().items()}
        return lambda token: b"".join(bytes_of.get(sign, sign.encode()) for sign in token)
    space = next((part["replacement"] for part in parts if part["type"] == "Metaspace"), None)
    for part in parts:
        if part["type"] == "Replace" and part.get("content") == " ":
            space = part["pattern"].get("String")
    if (
        not kinds
        or space is None
        or not set(kinds) <= {"Metaspace", "Replace", "ByteFallback"}
        or kinds.count("Replace") > 1
    ):
        raise PluginError(
            f"what the ids of this tokenizer spell is not known: it decodes by {', '.join(kinds) or 'joining with spaces'}; "
            "known are byte-level BPE and sentencepiece"
        )

    def spelt(token: str) -> bytes:
        byte = _BYTE.fullmatch(token) if "ByteFallback" in kinds else None
        return bytes([int(byte[1], 16)]) if byte else token.replace(space, " ").encode()

    return spelt


def _byte_signs() -> dict[int, str]:
    """The sign that stands for each byte in byte-level BPE (Radford et al. 2019, encoder.py)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [number for number in range(256) if number not in plain]
    return {number: chr(number) for number in plain} | {number: chr(256 + at) for at, number in enumerate(others)}
