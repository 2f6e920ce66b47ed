"""What names a raw value's features in a cache: a digest of its content, found without decoding where that is possible."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import uint8

from mmkit.interfaces import Item

MAX_FILE = 2**30


def content_key(raw: Any, strings_are_paths: bool) -> bytes | None:
    """SHA-256 of a file's bytes, of bytes as they are, or of a text; None for any other value, and for a file that
    cannot be read or is larger than 1 GiB (the processor decides what becomes of it).

    A mapping with ``bytes``, and at most a ``path`` beside them, counts as those bytes (``datasets`` gives media so).
    """
    if isinstance(raw, Mapping) and raw.get("bytes") is not None and set(raw) <= {"bytes", "path"}:
        raw = raw["bytes"]
    if isinstance(raw, str) and not strings_are_paths:
        return hashlib.sha256(b"text\0" + raw.encode("utf-8", "surrogatepass")).digest()
    if isinstance(raw, (str, Path)):
        try:
            if not Path(raw).is_file() or Path(raw).stat().st_size > MAX_FILE:
                return None
            with open(raw, "rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except (OSError, ValueError):
            return None
    if isinstance(raw, (bytes, bytearray, memoryview)):
        return hashlib.sha256(raw).digest()
    return None


def item_key(item: Item) -> bytes:
    """SHA-256 of a prepared item's tensors, for raw values that have no bytes of their own."""
    digest = hashlib.sha256(b"item\0")
    for name, tensor in sorted(item.items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(uint8).numpy().data)
    return digest.digest()
