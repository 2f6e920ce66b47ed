"""The best trial's spec as a file that trains as it is."""

import os
from pathlib import Path
from typing import Any

import yaml

from mmkit.registry.registry import Registry
from mmkit.spec.load import Source
from mmkit.spec.paths import get, put
from mmkit.wiring.planner import plan

BEST = "best.yaml"


def write_best(source: Source, registry: Registry, folder: Path) -> Path:
    """Write ``best.yaml``; files that the spec names relative to its own folder are named relative to this one."""
    planned = plan(source, registry)
    where = os.path.relpath(source.root.resolve(), folder.resolve())
    moved = source
    for placed in planned.placed():
        given = get(source.data, placed.location)
        value = _moved(given, placed.config.model_dump(), source.root, where)
        moved = put(moved, placed.location, value, ())
    data = source.data.get("data") or {}
    for part in ("train", "valid", "test"):
        for index, given in enumerate(data.get(part) or ()):
            if not given["path"].startswith(("hub:", "~")):
                moved = put(moved, ("data", part, index, "path"), _joined(where, given["path"]), ())
    if data.get("root") is not None:
        moved = put(moved, ("data", "root"), _joined(where, data["root"]), ())
    path, temporary = folder / BEST, folder / f".{BEST}"
    temporary.write_text(yaml.safe_dump(moved.data, sort_keys=False, allow_unicode=True, width=120), "utf-8")
    temporary.replace(path)
    return path


def _moved(given: Any, checked: Any, root: Path, where: str) -> Any:
    """A component's options with its local files named from elsewhere: those that its config has taken from ``root``."""
    if isinstance(given, dict) and isinstance(checked, dict):
        return {key: _moved(value, checked.get(key), root, where) for key, value in given.items()}
    if isinstance(given, list) and isinstance(checked, list | tuple) and len(given) == len(checked):
        return [_moved(a, b, root, where) for a, b in zip(given, checked, strict=True)]
    if isinstance(given, str) and isinstance(checked, str | Path) and str(checked) != given:
        return _joined(where, given) if Path(checked) == root / given else given
    return given


def _joined(where: str, path: str) -> str:
    """Absolute paths stay; ``where`` leads to the folder that the others are relative to."""
    return Path(os.path.normpath(Path(where) / path)).as_posix()
