"""What a person gives for a column: which form a modality gets is decided here, from what its components say."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmkit.discovery.loader import discover
from mmkit.errors import SampleError
from mmkit.interfaces import HasExample
from mmkit.model.model import Model

TEXT, FILE = "text", "file"
FORMS = ("image", "audio", "video")
"""First words of the MIME types that a browser has a form of its own for; anything else is a file or JSON."""
LONGEST = 1_000_000
"""Most letters of a text or of JSON."""


@dataclass(frozen=True)
class Column:
    """A column of a task's input.

    Attributes:
        form: ``text``, ``image``, ``audio``, ``video`` or ``file``. kind: of value, as the component that reads it says.
        files: a string would be the path of a file; only uploads may name one. hint: what a value is, where it is known.
    """

    name: str
    form: str
    kind: str
    files: bool
    hint: str = ""

    def value(self, given: Sequence[Any]) -> Any:
        """A column's value from those of its fields: the text or the uploaded file, or, of other kinds, file and JSON.

        Raises:
            SampleError: nothing is given, both are, the JSON is damaged, or it names a file of this machine.
        """
        if self.form != FILE:
            if given[0] is None or given[0] == "":
                raise SampleError(f"column {self.name!r} is empty: give it {self.hint or self.form} first")
            return given[0]
        path, text = given[0], (given[1] or "").strip()
        if bool(path) == bool(text):
            fault = "has a file and JSON: remove one" if text else "is empty: give it a file, or JSON"
            raise SampleError(f"column {self.name!r} {fault}")
        return path if path else self._parsed(text)

    def _parsed(self, text: str) -> Any:
        if len(text) > LONGEST:
            raise SampleError(f"column {self.name!r}: the JSON has {len(text):,} letters, at most {LONGEST:,} are read")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SampleError(f"column {self.name!r} is no JSON: {error}") from None
        if self.files and _has_text(value):
            raise SampleError(
                f"column {self.name!r}: text in JSON would name a file of this machine; upload the file instead"
            )
        return value


def _has_text(value: Any) -> bool:
    if isinstance(value, dict):
        return (bool(value) and any(_has_text(child) for child in value.values())) or "path" in value
    if isinstance(value, list):
        return any(_has_text(child) for child in value)
    return isinstance(value, str)


def columns_of(model: Model, task: str) -> list[Column]:
    """The columns of a task's input, each once, in the template's order."""
    planned = model.plan.tasks[task]
    return [_column(model, name, planned.modality_of[name]) for name in dict.fromkeys(planned.columns)]


def _column(model: Model, name: str, modality: str) -> Column:
    kind = model.plan.modalities[modality].kind
    reader: Any = {**model.vocabularies, **model.processors()}[modality]
    form, example = media_form(kind), None
    if isinstance(reader, HasExample) and not form:
        example = reader.example()
    if not form:
        written = not reader.strings_are_paths and (example is None or isinstance(example[1], str))
        form = TEXT if written else FILE
    return Column(
        name, form, kind or modality, bool(reader.strings_are_paths), example[0] if example and form == FILE else ""
    )


def media_form(kind: str) -> str:
    """The form of a kind of value by the MIME type that its renderer names; empty where it has none."""
    media = next((one.media for one in discover().renderers if one.name == kind), "")
    return form_of(media)


def form_of(media: str) -> str:
    """``image`` of ``image/png``; empty where browsers have no form for it."""
    first = media.partition("/")[0]
    return first if first in FORMS else ""
