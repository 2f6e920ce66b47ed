"""What a model answered, as the page shows it."""

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmkit.errors import SampleError
from mmkit.model.rendering import html_of, is_plain, renderer_of, with_files
from mmkit.play.columns import form_of

PLACES = ("text", "label", "image", "audio", "video", "html", "json")
"""Where a value can be shown."""


@dataclass(frozen=True)
class Answer:
    """A state of the answer, from which the page is drawn anew.

    Attributes:
        places: name of a place → what is in it; the other places are hidden. said: the line below, of time and tokens.
        fault: why there is no answer.
    """

    places: Mapping[str, Any] = field(default_factory=dict)
    said: str = ""
    fault: str = ""
    why: str = ""


def places_of(value: Any, write: Callable[[str, bytes], str]) -> dict[str, Any]:
    """Place → content of a prediction.

    Args:
        write: suffix and content → path of a new file that the page may show.

    Raises:
        PluginError: a renderer fails.
    """
    if isinstance(value, str):
        return {"text": value}
    if _probabilities(value):
        return {"label": dict(value)}
    if isinstance(value, Mapping) and is_plain(value):
        return _labelled(value)
    renderer = renderer_of(value)
    form = form_of(renderer.media) if renderer else ""
    if form:
        return {form: with_files(value, write)}
    return {"json": value} if is_plain(value) and not _parts(value) else {"html": as_html(value)}


def _labelled(value: Mapping[str, Any]) -> dict[str, Any]:
    """Probabilities of labels beside other figures: those as bars, the rest as it is."""
    bars = next((key for key, child in value.items() if _probabilities(child)), None)
    if bars is None:
        return {"json": dict(value)}
    rest = {key: child for key, child in value.items() if key != bars}
    one = [child for child in rest.values() if isinstance(child, str)]
    if len(rest) == len(one) <= 1:
        return {"label": dict(value[bars])}
    return {"label": dict(value[bars]), "json": rest}


def _probabilities(value: Any) -> bool:
    """Whether a value maps two names or more to numbers from 0 to 1."""
    if not isinstance(value, Mapping) or len(value) < 2:
        return False
    return all(isinstance(number, float) and 0 <= number <= 1.000001 for number in value.values())


def _parts(value: Any) -> bool:
    """Whether a value is an output of several parts: a list of mappings of one modality each."""
    return isinstance(value, list) and bool(value) and all(isinstance(p, Mapping) and len(p) == 1 for p in value)


def as_html(value: Any) -> str:
    """Parts one below the other; text is never taken for HTML."""
    if _parts(value):
        return "".join(f"<div class='part'>{as_html(next(iter(part.values())))}</div>" for part in value)
    renderer = renderer_of(value)
    if renderer is not None:
        try:
            return html_of(value, renderer)
        except SampleError as error:
            return html.escape(str(error))
    return f"<div style='white-space: pre-wrap'>{html.escape(value if isinstance(value, str) else repr(value))}</div>"


def fault_html(message: str) -> str:
    """A message of an error."""
    return f"<div class='fault' role='alert'>{html.escape(message)}</div>" if message else ""
