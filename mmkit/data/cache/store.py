"""The cache of one encoder: reading anywhere, writing in the process that runs the model."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from mmkit.data.cache.fingerprint import fingerprint
from mmkit.data.cache.folder import INDEX, INFO, RECORD, folder_size, hold, make_room, size_text
from mmkit.data.cache.index import Index
from mmkit.data.cache.segment import KINDS, Segment, SegmentWriter
from mmkit.ragged import Ragged

_BITS = 40
"""Of a place: the number of the record; the segment's number above them."""


class Reader:
    """Finds features in a folder that others may be adding to. Pickled, it is opened anew from its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segments: list[Segment] = []
        self.by_name: dict[str, int] = {}
        self.index = Index()

    def __reduce__(self) -> tuple[type["Reader"], tuple[Path]]:
        return Reader, (self.folder,)

    def find(self, key: bytes) -> Tensor | None:
        """Float["rows columns"], mapped; a key that is not known is looked for in what was added meanwhile."""
        head = int.from_bytes(key[:8], "little")
        place = self.index.find(head)
        if place is None and self.refresh():
            place = self.index.find(head)
        return None if place is None else self.segments[place >> _BITS].read(place % (1 << _BITS), key)

    def refresh(self) -> bool:
        """Read the records that were added since; whether there were any. A part of a record is left for later."""
        grown = False
        try:
            found = sorted((entry for entry in os.scandir(self.folder) if entry.name.endswith(INDEX)), key=_name)
        except OSError:
            return False
        for entry in found:
            number = self.by_name.setdefault(entry.name, len(self.segments))
            if number == len(self.segments):
                self.segments.append(Segment(Path(entry.path)))
            segment = self.segments[number]
            try:
                count = entry.stat().st_size // RECORD
                if count > segment.count:
                    first = segment.count
                    self.index.add(segment.grow(count), (number << _BITS) + first)
                    grown = True
            except (OSError, RuntimeError):
                continue
        return grown

    def damaged(self) -> list[Path]:
        """Segments in which a damaged entry was met."""
        return [segment.path for segment in self.segments if segment.damaged]


def _name(entry: "os.DirEntry[str]") -> str:
    return entry.name


def folder_of(root: Path, facts: dict[str, Any]) -> Path:
    """The folder of one encoder or codec.

    Raises:
        OSError: it cannot be made.
    """
    folder = root / "-".join([*facts["component"].split("/"), fingerprint(facts)[:16]])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def introduce(folder: Path, info: dict[str, Any]) -> None:
    """Say what the folder holds, and that it was used now."""
    path = folder / INFO
    if path.exists():
        os.utime(path)
    else:
        made = folder / f"{INFO}.{os.getpid()}"
        made.write_text(json.dumps(info, indent=1) + "\n", "utf-8")
        made.replace(path)


def segment_size(limit: int) -> int:
    """Bytes after which a new segment is begun: what is cleared away goes by segments."""
    return max(2**20, min(2**30, limit // 32))


class EncoderCache:
    """Reads and adds to the features of one encoder, counting hits and misses.

    Args:
        root: the cache folder; the encoder gets a folder in it.
        info: ``node``, ``options`` and the ``facts`` that tell its features from others.
        limit: bytes of all encoders in the cache folder together.
        say: receives a line when the cache is full, cannot be written or is damaged.

    Raises:
        OSError: the folder cannot be made or written.
    """

    def __init__(self, root: Path, info: dict[str, Any], limit: int, say: Callable[[str], None]) -> None:
        self.root, self.info, self.limit, self.say = root, info, limit, say
        self.name = str(info["node"])
        self.folder = folder_of(root, info["facts"])
        self.lock = hold(self.folder)
        introduce(self.folder, self.info)
        self._reader = Reader(self.folder)
        self._reader.refresh()
        self.hits = self.misses = 0
        self.pending: list[tuple[Sequence[bytes], Ragged]] = []
        self.writer: SegmentWriter | None = None
        self.stopped = False
        self.named: set[Path] = set()

    @property
    def reader(self) -> Reader:
        """Also for data workers."""
        return self._reader

    def count(self, hits: int, misses: int) -> None:
        """Of one pass."""
        self.hits += hits
        self.misses += misses

    def put(self, keys: Sequence[bytes], features: Ragged) -> None:
        """Remember until the next ``flush``."""
        if not self.stopped and features.values.dim() == 2 and features.values.dtype in KINDS:
            self.pending.append((keys, features))

    def flush(self) -> None:
        """Write what is pending; a full disk or cache ends the writing, never the run."""
        pending, self.pending = self.pending, []
        for keys, features in pending:
            values = features.values.detach().cpu()
            wanted = values.nbytes + RECORD * 2 * len(keys)
            try:
                reason = make_room(self.root, wanted, self.limit)
                if not reason:
                    self._segment(wanted).append(keys, values.split(features.sizes))
            except OSError as error:
                reason = f"{self.folder} cannot be written ({error.strerror or error})"
            if reason:
                self.stopped = True
                self._close_segment()
                self.say(
                    f"feature cache: {self.name}: nothing more is added: {reason}; `mmkit cache` shows what is kept"
                )
                break
        if pending:
            self.reader.refresh()
        for path in self.reader.damaged():
            if path not in self.named:
                self.named.add(path)
                self.say(
                    f"feature cache: {self.name}: {path} is damaged (a checksum differs): its damaged entries are "
                    f"ignored and computed again; `mmkit cache clear {self.folder.name}` removes them"
                )

    def _segment(self, wanted: int) -> SegmentWriter:
        """The segment to write to: a new one when the last is large, or was cleared away."""
        if self.writer and (not self.writer.usable or self.writer.end + wanted > segment_size(self.limit)):
            self._close_segment()
        if not self.writer:
            self.writer = SegmentWriter(self.folder)
            introduce(self.folder, self.info)
        return self.writer

    def _close_segment(self) -> None:
        if self.writer:
            self.writer.close()
        self.writer = None

    def close(self, write: bool = True) -> None:
        """Write what is pending (unless the run failed) and let go of the folder."""
        if write:
            self.flush()
        self._close_segment()
        with suppress(OSError):
            os.utime(self.folder / INFO)
        self.lock.release()
        with suppress(OSError):
            Path(self.lock.lock_file).unlink(missing_ok=True)

    def summary(self) -> str:
        """Hits, misses, entries and bytes."""
        size = folder_size(self.folder)
        return (
            f"feature cache: {self.name}: {self.hits:,} hits, {self.misses:,} misses; "
            f"{len(self.reader.index):,} entries, {size_text(size)} in {self.folder}"
        )
