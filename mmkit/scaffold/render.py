"""A template → a folder that is new. Nothing is written where something is already."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkit.errors import MmkitError

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Made:
    """A new project.

    Attributes:
        folder: where it is. files: what was written, relative to it.
        what: it in a few words. commands: what to run next, paths relative to the working folder.
        yours: which functions the author writes, and where. notes: what else to know.
    """

    folder: Path
    files: tuple[str, ...]
    what: str
    commands: tuple[str, ...]
    yours: str
    notes: tuple[str, ...] = ()


def render(template: str, folder: Path, values: Mapping[str, str]) -> tuple[str, ...]:
    """Render ``templates/<template>`` into a folder that is not there or empty; the files written.

    Raises:
        MmkitError: copier is missing, or something is there already.
        OSError: the folder cannot be written.
    """
    copy = _copier()
    require_vacant(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mmkit-new-", dir=folder) as place:
        made = Path(place) / "project"
        copy(str(TEMPLATES / template), made, data={"dot": ".", **values}, defaults=True, quiet=True)
        files = sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file())
        for path in made.iterdir():  # only when all of it is there
            path.rename(folder / path.name)
    return tuple(files)


def require_vacant(folder: Path) -> None:
    """Nothing is there, or an empty folder.

    Raises:
        MmkitError: something is.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        kind = "a folder that is not empty" if folder.is_dir() else "a file"
        raise MmkitError(
            f"{folder} is there already, {kind}; nothing was written\n    fix: give another folder by --output, or move it"
        )


def _copier() -> Callable[..., Any]:
    try:
        from copier import run_copy
    except ImportError:
        raise MmkitError(
            "mmkit new renders templates with copier, which is not installed\n    fix: pip install 'mmkit[new]'"
        ) from None
    return run_copy
