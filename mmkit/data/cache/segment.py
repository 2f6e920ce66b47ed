"""Segments: an append-only file of raw features and one of fixed records that say where each lies.

A process writes its own segments only and nobody ever changes a byte, so that no lock is needed between writers and
readers. Data is written before the record that points to it; a killed writer leaves at most a part of a record at the
end of the index, and data that no record points to: both are ignored. After a power failure a record may point to data
that never reached the disk: the checksum finds it, as it finds rot.

Record, 64 bytes, little-endian: SHA-256 of the content (32), start (8), rows (4), columns (4), type (4), zero (4),
XXH3-64 of those 56 bytes and the data (8).
"""

import os
import struct
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xxhash
from torch import Tensor

from mmkit.data.cache.folder import DATA, INDEX, RECORD

KINDS = (torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int32)
_HEAD = struct.Struct("<32sQIII4x")
_CHECK = struct.Struct("<Q")
_ALIGNED = 64


class Segment:
    """Reads a segment; its files are mapped when they are first needed, and again once they have grown."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.index = torch.empty(0, dtype=torch.uint8)
        self.data = torch.empty(0, dtype=torch.uint8)
        self.damaged: set[int] = set()

    def grow(self, count: int) -> np.ndarray:
        """The first 8 bytes of the keys of the records added since the last call.

        Raises:
            RuntimeError: the file is gone.
        """
        self.index = _mapped(self.path, count * RECORD)
        added = self.index[self.count * RECORD :].numpy().view("<u8").reshape(-1, RECORD // 8)[:, 0]
        self.count = count
        return added

    def read(self, number: int, key: bytes) -> Tensor | None:
        """Float["rows columns"], a view of the file; None if the record is another key's, gone or damaged."""
        if number in self.damaged:
            return None
        record = self.index[number * RECORD : (number + 1) * RECORD].numpy().tobytes()
        found, start, rows, columns, kind = _HEAD.unpack_from(record)
        if found != key:
            return None
        if kind >= len(KINDS):
            self.damaged.add(number)
            return None
        end = start + rows * columns * KINDS[kind].itemsize
        if end > self.data.shape[0]:
            path = self.path.with_suffix(DATA)
            try:
                self.data = _mapped(path, path.stat().st_size)
            except (OSError, RuntimeError):
                return None
        raw = self.data[start:end]
        if raw.shape[0] < end - start or _check(record[: _HEAD.size], raw) != _CHECK.unpack_from(record, _HEAD.size)[0]:
            self.damaged.add(number)
            return None
        return raw.view(KINDS[kind]).reshape(rows, columns)


class SegmentWriter:
    """Makes a new segment and appends to it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{time.time_ns():020d}-{os.getpid()}-{os.urandom(4).hex()}{INDEX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self.files = [os.open(self.path.with_suffix(suffix), flags, 0o644) for suffix in (DATA, INDEX)]
        self.end = 0

    @property
    def usable(self) -> bool:
        """False once somebody removed it."""
        return self.path.exists()

    def append(self, keys: Sequence[bytes], features: Sequence[Tensor]) -> None:
        """Write all data, then all records in one go.

        Raises:
            OSError: no space left, or another failure of the disk.
        """
        records = bytearray()
        for key, rows in zip(keys, features, strict=True):
            raw = rows.contiguous().reshape(-1).view(torch.uint8)
            head = _HEAD.pack(key, self.end, rows.shape[0], rows.shape[1], KINDS.index(rows.dtype))
            records += head + _CHECK.pack(_check(head, raw))
            filling = -raw.shape[0] % _ALIGNED
            _write(self.files[0], raw.numpy().data)
            _write(self.files[0], memoryview(bytes(filling)))
            self.end += raw.shape[0] + filling
        _write(self.files[1], memoryview(records))

    def close(self) -> None:
        """Nothing more will be appended."""
        for file in self.files:
            os.close(file)
        self.files = []


def _write(file: int, data: memoryview) -> None:
    while data:
        data = data[os.write(file, data) :]


def _mapped(path: Path, size: int) -> Tensor:
    """A private mapping: pages are shared with everybody who reads the file, and it holds no descriptor open."""
    if not size:
        return torch.empty(0, dtype=torch.uint8)
    return torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)


def _check(head: bytes, raw: Tensor) -> int:
    digest = xxhash.xxh3_64(head)
    if raw.shape[0]:
        digest.update(raw.numpy().data)
    return digest.intdigest()
