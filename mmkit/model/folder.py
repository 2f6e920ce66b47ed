"""Folders that are whole or absent: written under a temporary name, synced, renamed; a manifest with SHA-256 comes last.

One writer serves saved models, which replace an older one in place, and training checkpoints, which have fresh names.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from mmkit.errors import CheckpointError

MANIFEST = "manifest.json"
WRITING = ".writing-"  # and the process: not complete
COMMITTED = ".committed"  # a complete newer version inside a folder, whose files are being moved into place


def write_folder(folder: Path, version: int, fill: Callable[[Path], None]) -> Path:
    """Let ``fill`` write a folder; whatever crashes, what ``folder`` means is the old content or the new.

    Files that ``fill`` does not write, nor an earlier call wrote, stay: logs, checkpoints, the user's own.

    Raises:
        CheckpointError: it cannot be written (no space, no permission); what was there before is untouched.
    """
    folder = folder.resolve()
    fresh = not folder.exists()
    prefix = folder.parent / f".{folder.name}{WRITING}" if fresh else folder / WRITING
    staged = prefix.with_name(f"{prefix.name}{os.getpid()}")
    try:
        _clear(prefix)
        staged.mkdir(parents=True)
        fill(staged)
        _seal(staged, version)
        if fresh:
            staged.rename(folder)
            sync(folder.parent)
        else:
            recover(folder)
            shutil.rmtree(folder / COMMITTED, ignore_errors=True)
            staged.rename(folder / COMMITTED)
            sync(folder)
            recover(folder)
    except (OSError, SafetensorError) as error:
        raise cannot_write(folder, error) from (error if isinstance(error, OSError) else OSError(str(error)))
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return folder


def cannot_write(folder: Path, error: Exception) -> CheckpointError:
    """The error that says why, and what is not lost."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return CheckpointError(
        f"cannot write {folder}: {reason}; what was saved before is untouched; free some space, or choose another folder"
    )


def recover(folder: Path) -> None:
    """Finish a replacement that was interrupted after its commit: may be called at any time, any number of times."""
    committed = folder / COMMITTED
    if not (committed / MANIFEST).is_file():
        return
    new = _sums(read_json(committed, MANIFEST), committed)
    old = _sums(read_json(folder, MANIFEST), folder) if (folder / MANIFEST).is_file() else {}
    for name in new:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # moved already
            (committed / name).replace(folder / name)
    for name in set(old) - set(new):
        (folder / name).unlink(missing_ok=True)
    for path in {(folder / name).parent for name in new}:
        sync(path)
    with suppress(FileNotFoundError):
        (committed / MANIFEST).replace(folder / MANIFEST)
    sync(folder)
    shutil.rmtree(committed, ignore_errors=True)


def read_manifest(folder: Path, version: int) -> dict[str, str]:
    """File name → SHA-256 of a written folder; every file is there.

    Raises:
        CheckpointError: no manifest, another version, or a file is missing.
    """
    manifest = read_json(folder, MANIFEST)
    if manifest.get("format") != version:
        raise CheckpointError(f"{folder} has format {manifest.get('format')!r}; this mmkit reads {version}")
    sums = _sums(manifest, folder)
    for name in sums:
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is incomplete: {name} is missing")
    return sums


def verify_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Compare every file with its SHA-256.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{folder} is incomplete: {name} is missing")
        if digest(path) != expected:
            raise CheckpointError(f"{path} is damaged: its SHA-256 is not that of the manifest; restore it from a copy")


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def dump_json(path: Path, value: Any) -> None:
    """Indented UTF-8 JSON; floats keep every bit."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object of a written folder.

    Raises:
        CheckpointError: it is missing or not a JSON object.
    """
    path = folder / name
    if not folder.is_dir() or not path.is_file():
        raise CheckpointError(f"{folder} is not a saved mmkit model: it has no {name}")
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is not a JSON object")
    return value


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sums(manifest: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """File name → SHA-256; names stay inside the folder."""
    sums: dict[str, str] = manifest.get("sha256", {})
    for name in sums:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise CheckpointError(f"{folder / MANIFEST} names a file outside its folder: {name}")
    return sums


def _clear(prefix: Path) -> None:
    """Remove what processes that no longer run left unfinished."""
    for path in prefix.parent.glob(f"{prefix.name}*"):
        process = path.name.removeprefix(prefix.name)
        if process.isdigit() and (int(process) == os.getpid() or not _runs(int(process))):
            shutil.rmtree(path, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _seal(folder: Path, version: int) -> None:
    """Sync every file and folder, then write the manifest."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    sums = {p.relative_to(folder).as_posix(): digest(p) for p in files}
    for path in files:
        sync(path)
    for path in {p.parent for p in files}:
        sync(path)
    dump_json(folder / MANIFEST, {"format": version, "sha256": sums})
    sync(folder / MANIFEST)
    sync(folder)
