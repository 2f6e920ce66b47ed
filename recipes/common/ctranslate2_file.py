"""Reads the container of CTranslate2 models (``model.bin``): a list of named arrays. Only numpy is needed.

Layout (little endian), after ``ctranslate2/specs/model_spec.py`` of the CTranslate2 project, version 6:
``u32`` version, string specification, ``u32`` revision, ``u32`` number of variables; each variable a string name, ``u8``
rank, ``u32`` × rank shape, ``u8`` type, ``u32`` bytes, data; then ``u32`` number of aliases, each two strings. A
string is ``u16`` length with the closing zero, then its bytes.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recipes.common.errors import RecipeError

VERSION = 6
_TYPES: dict[int, "np.dtype"] = {
    0: np.dtype("<f4"),
    1: np.dtype("i1"),
    2: np.dtype("<i2"),
    3: np.dtype("<i4"),
    4: np.dtype("<f2"),
}


@dataclass(frozen=True)
class Container:
    """The content: which model class wrote it, its arrays, and second names for some of them."""

    specification: str
    arrays: dict[str, "np.ndarray"]
    aliases: dict[str, str]


class _Cursor:
    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.at, self.name = data, 0, name

    def take(self, count: int) -> bytes:
        part = self.data[self.at : self.at + count]
        if len(part) != count:
            raise RecipeError(f"{self.name} ends at byte {len(self.data)} in the middle of an entry: it is truncated")
        self.at += count
        return part

    def number(self, kind: str) -> int:
        value = struct.unpack("<" + kind, self.take(struct.calcsize(kind)))[0]
        return int(value)

    def string(self) -> str:
        return self.take(self.number("H")).rstrip(b"\0").decode()


def read(path: Path) -> Container:
    """Read a whole file.

    Raises:
        RecipeError: it is truncated, of another version, or has a type this reader does not know.
    """
    cursor = _Cursor(path.read_bytes(), path.name)
    version = cursor.number("I")
    if version != VERSION:
        raise RecipeError(f"{path.name} is a CTranslate2 container of version {version}; this reader knows {VERSION}")
    specification = cursor.string()
    cursor.number("I")
    arrays: dict[str, np.ndarray] = {}
    for _ in range(cursor.number("I")):
        name = cursor.string()
        shape = tuple(cursor.number("I") for _ in range(cursor.number("B")))
        kind, size = cursor.number("B"), cursor.number("I")
        if kind not in _TYPES:
            raise RecipeError(f"{path.name}: array {name!r} has type {kind}; this reader knows {sorted(_TYPES)}")
        arrays[name] = np.frombuffer(cursor.take(size), dtype=_TYPES[kind]).reshape(shape)
    aliases = {}
    for _ in range(cursor.number("I")):
        alias = cursor.string()
        aliases[alias] = cursor.string()
    return Container(specification, arrays, aliases)
