"""What models make beside text and numbers: plugins show it, and write it to files. The core knows none of its kinds."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkit.discovery.loader import discover
from mmkit.errors import MmkitError, PluginError, SampleError
from mmkit.registry.offers import Renderer
from mmkit.wiring.graph import Plan, import_path

_PLAIN = (str, int, float, type(None))


def is_plain(value: Any) -> bool:
    """Whether a value is text, a number, nothing, or a list or mapping of such."""
    if isinstance(value, Mapping):
        return all(is_plain(child) for child in value.values())
    if isinstance(value, list | tuple):
        return all(is_plain(child) for child in value)
    return isinstance(value, _PLAIN)


def renderer_of(value: Any) -> Renderer | None:
    """Of a value that is not plain, the plugins' renderer that takes it."""
    if is_plain(value):
        return None
    return next((one for one in discover().renderers if _asked(one, "takes", value)), None)


def renderers_of(plan: Plan, task: str) -> dict[str, Renderer]:
    """Modality of the output → renderer, of those that an adapter decodes into a kind of value that plugins render."""
    planned, known = plan.tasks[task], {one.name: one for one in discover().renderers}
    found = {}
    for name in planned.output_modalities if planned.by_adapter else ():
        kind = plan.modalities[name].kind
        if kind in known:
            found[name] = known[kind]
    return found


def html_of(value: Any, renderer: Renderer) -> str:
    """A value, or a reference of such values, as HTML.

    Raises:
        SampleError: it cannot be read. PluginError: the plugin fails.
    """
    given: str = _asked(renderer, "html", value)
    return given


def with_files(value: Any, write: Callable[[str, bytes], str]) -> Any:
    """A plain value: what plugins can write to files is replaced by what ``write`` makes of suffix and content.

    Raises:
        PluginError: a plugin fails.
    """
    if is_plain(value):
        return value
    renderer = renderer_of(value)
    if renderer is not None:
        return write(*_asked(renderer, "file", value))
    if isinstance(value, Mapping):
        return {key: with_files(child, write) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [with_files(child, write) for child in value]
    return value


def _asked(renderer: Renderer, what: str, value: Any) -> Any:
    try:
        return import_path(getattr(renderer, what))(value)
    except SampleError:
        raise
    except Exception as error:
        said = str(error) if isinstance(error, MmkitError) else f"{type(error).__name__}: {error}"
        who = f"renderer {renderer.name!r} of plugin {renderer.plugin!r}"
        raise PluginError(f"{who} fails in {getattr(renderer, what)}: {said}") from error


@dataclass(frozen=True)
class Files:
    """A folder for the files of a task's predictions, ``TASK-NUMBER.suffix``; further ones of a prediction get ``-2``, ``-3`` …

    Attributes:
        folder: made when it is needed. shown: how its path is written in answers; default: as it was given.
    """

    folder: Path
    task: str
    shown: Path | None = None

    @property
    def _stem(self) -> str:
        return re.sub(r"[^\w.-]", "_", self.task)

    def free(self) -> int:
        """The first number that no file has."""
        taken = {path.name.partition(".")[0] for path in self.folder.glob(f"{self._stem}-*")}
        return next(n for n in range(1, len(taken) + 2) if f"{self._stem}-{n}" not in taken)

    def saved(self, value: Any, number: int | None = None) -> Any:
        """The value with paths in place of what is in files now.

        Args:
            number: of the prediction; files of that number are written anew. None: the first number that is free.

        Raises:
            OSError: a file cannot be written.
        """
        if is_plain(value):
            return value
        self.folder.mkdir(parents=True, exist_ok=True)
        stem, number = self._stem, self.free() if number is None else number
        written: list[str] = []

        def write(suffix: str, content: bytes) -> str:
            name = f"{stem}-{number}" + (f"-{len(written) + 1}" if written else "") + f".{suffix}"
            (self.folder / name).write_bytes(content)
            written.append(str((self.folder if self.shown is None else self.shown) / name))
            return written[-1]

        return with_files(value, write)
