"""The user's cache folder, and folders in it that appear whole or not at all."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

DONE = "done.json"


def cache_root() -> Path:
    """``$MMKIT_CACHE``, else ``$XDG_CACHE_HOME/mmkit``, else ``~/.cache/mmkit``."""
    given = os.environ.get("MMKIT_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mmkit"


def recipe_folder(name: str) -> Path:
    """Where a recipe's manifests and media lie."""
    return cache_root() / "recipes" / name


def made_once(folder: Path, version: str, make: Callable[[Path], None], *, force: bool = False) -> tuple[Path, bool]:
    """``folder``, made by ``make`` unless it already holds this ``version``; says whether it was made now.

    ``make`` fills a folder beside the final one, which is then renamed: an interrupted run leaves nothing that looks
    finished, and a second process waits for the first.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        if not force and _version(folder) == version:
            return folder, False
        partial = folder.parent / f".{folder.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        started = time.monotonic()
        try:
            make(partial)
            write_json(partial / DONE, {"version": version, "seconds": round(time.monotonic() - started, 1)})
            _replace(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder, True


def _version(folder: Path) -> str | None:
    try:
        version = json.loads((folder / DONE).read_text("utf-8"))["version"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return version if isinstance(version, str) else None


def _replace(new: Path, folder: Path) -> None:
    """Rename ``new`` to ``folder``, moving what was there aside first: never a mixture of the two."""
    old = folder.parent / f".{folder.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Readable JSON."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """One JSON object a line; the number of rows written."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for count, row in enumerate(rows, 1):  # noqa: B007
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return count


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that ``write_jsonl`` wrote."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
