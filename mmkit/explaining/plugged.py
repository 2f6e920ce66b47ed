"""What is drawn for a part of a column: by the plugin of its kind, or by the core."""

from typing import Any

from mmkit.discovery.loader import discover
from mmkit.errors import MmkitError, PluginError
from mmkit.explaining.explanation import Column, Part
from mmkit.explaining.heat import heat_map
from mmkit.wiring.graph import import_path


def drawn(column: Column, part: Part) -> Any:
    """A figure of Matplotlib; or HTML, where the plugin's renderer gives that.

    Raises:
        MmkitError: Matplotlib is not installed. PluginError: a plugin's drawing fails.
    """
    found = None if part.pieces else _by_plugin(column, part)
    return heat_map(part) if found is None else found


def _by_plugin(column: Column, part: Part) -> Any:
    """None where no plugin draws it."""
    for renderer in discover().renderers:
        if renderer.attribution and renderer.name == column.kind:
            try:
                found = import_path(renderer.attribution)(column, part)
            except Exception as error:
                said = str(error) if isinstance(error, MmkitError) else f"{type(error).__name__}: {error}"
                who = f"renderer {renderer.name!r} of plugin {renderer.plugin!r}"
                raise PluginError(f"{who} fails in {renderer.attribution}: {said}") from error
            if found is not None:
                return found
    return None
