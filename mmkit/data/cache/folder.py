"""The cache folder: where it is, what lies in it, how it is cleared and kept within its size. Imports no torch."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ByteSize

INFO, LOCK, INDEX, DATA = "encoder.json", ".lock", ".index", ".data"
RECORD = 64
RESERVE = 10**9
"""Bytes of the disk that the cache leaves free."""


def default_folder() -> Path:
    """``features`` in ``$MMKIT_CACHE``, else in ``$XDG_CACHE_HOME/mmkit``, else in ``~/.cache/mmkit``."""
    given = os.environ.get("MMKIT_CACHE")
    root = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "mmkit"
    return root.expanduser() / "features"


def size_text(size: int) -> str:
    """``10.0GB``."""
    return ByteSize(size).human_readable(decimal=True)


@dataclass(frozen=True)
class Kept:
    """What is kept of one encoder.

    Attributes:
        component, version, node: of the encoder (``?`` where ``encoder.json`` cannot be read); options: as its spec
            gave them.
        entries, size: number of items, bytes. used: when a run last used it, seconds since 1970.
        in_use: whether a living process uses it now.
    """

    folder: Path
    entries: int
    size: int
    used: float
    in_use: bool
    component: str = "?"
    version: str = "?"
    node: str = "?"
    options: dict[str, Any] = field(default_factory=dict)


def encoders(root: Path) -> list[Kept]:
    """All that is kept, the latest used first."""
    return sorted((_kept(folder) for folder in _folders(root)), key=lambda kept: -kept.used)


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(folder for folder in root.iterdir() if (folder / INFO).is_file())
    except OSError:
        return []


def _kept(folder: Path) -> Kept:
    files = list(_files(folder))
    entries = sum(stat.st_size // RECORD for path, stat in files if path.suffix == INDEX)
    size = sum(stat.st_size for _, stat in files)
    try:
        info = json.loads((folder / INFO).read_text("utf-8"))
        facts = info["facts"]
        names = (str(facts["component"]), str(facts["version"]), str(info["node"]), dict(info["options"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Kept(folder, entries, size, _used(folder), in_use(folder))
    return Kept(folder, entries, size, _used(folder), in_use(folder), *names)


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Files that are still there when looked at."""
    try:
        found = list(os.scandir(folder))
    except OSError:
        return
    for entry in found:
        try:
            yield Path(entry.path), entry.stat()
        except OSError:
            continue


def _used(folder: Path) -> float:
    try:
        return (folder / INFO).stat().st_mtime
    except OSError:
        return 0.0


def hold(folder: Path) -> FileLock:
    """A lock that says "in use" until it is released or the process ends, however it ends."""
    for path in folder.glob(f"*{LOCK}"):
        _holds(path)
    lock = FileLock(folder / f"{os.getpid()}-{os.urandom(4).hex()}{LOCK}")
    lock.acquire()
    return lock


def in_use(folder: Path) -> bool:
    """Whether a living process holds a lock in this folder; locks of dead ones are removed."""
    held = [_holds(path) for path in folder.glob(f"*{LOCK}")]
    return any(held)


def _holds(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0):
            path.unlink(missing_ok=True)
    except Timeout:
        return True
    except OSError:
        return False
    return False


def folder_size(folder: Path) -> int:
    """Bytes of one encoder."""
    return sum(stat.st_size for _, stat in _files(folder))


def _size(root: Path) -> int:
    return sum(folder_size(folder) for folder in _folders(root))


def make_room(root: Path, wanted: int, limit: int) -> str:
    """Remove the oldest segments of the encoders that were used least recently until so many bytes fit.

    Encoders in use keep theirs.

    Returns:
        nothing, or why there is no room.
    """
    if _size(root) + wanted > limit:
        for kept in reversed(encoders(root)):
            segments = [] if kept.in_use else sorted(kept.folder.glob(f"*{INDEX}"))
            for index in segments:
                if _size(root) + wanted > limit:
                    _remove_segment(index)
            if segments and not list(kept.folder.glob(f"*{INDEX}")):
                shutil.rmtree(kept.folder, ignore_errors=True)
    size = _size(root)
    if size + wanted > limit:
        return f"train.cache.size is {size_text(limit)}, and {size_text(size)} are in use"
    if shutil.disk_usage(root).free < wanted + RESERVE:
        return f"the disk of {root} has less than {size_text(RESERVE)} left"
    return ""


def _remove_segment(index: Path) -> None:
    """The index goes first, so that nothing points to data that is gone."""
    for path in (index, index.with_suffix(DATA)):
        with suppress(OSError):
            path.unlink()


def clear(kept: Kept) -> int:
    """Remove an encoder's folder; the bytes set free."""
    size = kept.size
    shutil.rmtree(kept.folder, ignore_errors=True)
    return size
