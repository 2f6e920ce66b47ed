"""The cache of one codec: ids of contents, found and added in whichever process encodes them."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from mmkit.data.cache.folder import INFO, RECORD, folder_size, hold, make_room, size_text
from mmkit.data.cache.segment import SegmentWriter
from mmkit.data.cache.store import Reader, folder_of, introduce, segment_size
from mmkit.model.content import content_key

_LOOK = 256
"""Values between two looks at how large the cache has become."""
_ROOM = _LOOK * 16 * RECORD
"""Bytes that must be free for them."""


class CodeCache:
    """Implements ``CodeStore``. A copy of it in another process, pickled or forked, has a segment of its own there.

    Args:
        folder: of the codec, in ``root``; ``info`` describes it. limit: bytes of all that ``root`` holds.
    """

    def __init__(self, root: Path, folder: Path, info: dict[str, Any], limit: int) -> None:
        self.root, self.folder, self.info, self.limit = root, folder, info, limit
        self._open()

    def __reduce__(self) -> tuple[Any, ...]:
        return CodeCache, (self.root, self.folder, self.info, self.limit)

    def _open(self) -> None:
        self.process, self.reader = os.getpid(), Reader(self.folder)
        self.writer: SegmentWriter | None = None
        self.stopped, self.until_look = False, 0

    def ids(self, raw: Any, make: Callable[[], list[int]]) -> list[int]:
        """Those of this content, from disk or made now; a record that is damaged is as good as none."""
        key = content_key(raw, strings_are_paths=True)
        if key is None:
            return make()
        if self.process != os.getpid():
            self._open()
        found = self.reader.find(key)
        if found is not None:
            known: list[int] = found[:, 0].tolist()
            return known
        ids = make()
        if not self.stopped:
            self._add(key, ids)
        return ids

    def _add(self, key: bytes, ids: list[int]) -> None:
        """A full disk or cache ends the writing, never the run."""
        rows = torch.tensor(ids, dtype=torch.int32)[:, None]
        try:
            if self.until_look == 0:
                self.stopped = bool(make_room(self.root, _ROOM, self.limit))
            self.until_look = (self.until_look or _LOOK) - 1
            if self.stopped:
                return
            if self.writer and (not self.writer.usable or self.writer.end > segment_size(self.limit)):
                self.writer.close()
                self.writer = None
            if self.writer is None:
                self.writer = SegmentWriter(self.folder)
                introduce(self.folder, self.info)
            self.writer.append([key], [rows])
        except OSError:
            self.stopped = True


class OpenCodes:
    """The cache of one codec while a run uses it.

    Raises:
        OSError: the folder cannot be made or written.
    """

    def __init__(self, root: Path, info: dict[str, Any], limit: int) -> None:
        self.folder = folder_of(root, info["facts"])
        self.lock = hold(self.folder)
        introduce(self.folder, info)
        self.cache = CodeCache(root, self.folder, info, limit)
        self.before = self._entries()

    def _entries(self) -> int:
        self.cache.reader.refresh()
        return len(self.cache.reader.index)

    def close(self) -> None:
        """Let go of the folder."""
        if self.cache.writer:
            self.cache.writer.close()
            self.cache.writer = None
        with suppress(OSError):
            os.utime(self.folder / INFO)
        self.lock.release()
        with suppress(OSError):
            Path(self.lock.lock_file).unlink(missing_ok=True)

    def summary(self, limit: int) -> str:
        """Entries that were there and that were added, bytes; and whether there is room for more."""
        now = self._entries()
        said = (
            f"code cache: {self.cache.info['node']}: {self.before:,} values were known, {now - self.before:,} were added; "
            f"{size_text(folder_size(self.folder))} in {self.folder}"
        )
        reason = make_room(self.cache.root, _ROOM, limit)
        return f"{said}; nothing more is added: {reason}" if reason else said
