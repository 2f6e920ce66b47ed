"""Decoding options of a task as fields of the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmkit.model.generate import OPTIONS
from mmkit.model.model import Model


@dataclass(frozen=True)
class Option:
    """A field.

    Attributes:
        value: the head's own; None where nothing is set. whole: a whole number. says: what it does, in a few words.
    """

    name: str
    value: float | None
    whole: bool
    says: str


FIELDS = {
    "temperature": (False, "0: the likeliest; more: more varied"),
    "top_p": (False, "draw among the likeliest that together have this probability"),
    "seed": (True, "the same seed draws the same answer"),
    "max_new_tokens": (True, "where the answer ends at the latest"),
    "beams": (True, "answers that are followed at once; above 1 nothing is drawn"),
    "guidance": (False, "above 1: nearer to the prompt"),
}
"""Option → whether it is a whole number, and what it does."""


def options_of(model: Model, task: str) -> list[Option]:
    """The options that a task takes: none where nothing is drawn or generated."""
    head = model.parts.heads[task]
    if not head.autoregressive:
        names = ["seed"] * head.draws
    else:
        names = [name for name in FIELDS if name != "guidance" or head.input_dropout]
    own = {**OPTIONS, **head.options()}
    return [Option(name, own.get(name), *FIELDS[name]) for name in names]


def chosen(options: Sequence[Option], given: Sequence[Any]) -> dict[str, Any]:
    """What a call is given: fields that are empty are left to the defaults of the core."""
    found: Mapping[str, Any] = {one.name: value for one, value in zip(options, given, strict=True)}
    whole = {one.name for one in options if one.whole}
    return {k: int(v) if k in whole and float(v).is_integer() else v for k, v in found.items() if v is not None}
