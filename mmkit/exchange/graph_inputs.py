"""What an exported graph is given: for each column the tensors that its processor or vocabulary makes, padded, with their lengths."""

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mmkit.errors import MmkitError
from mmkit.interfaces import Batch
from mmkit.model.batch import Ids, Media, Sample
from mmkit.model.model import Model
from mmkit.ragged import Padded, Ragged
from mmkit.spec.template import Slot
from mmkit.wiring.graph import TaskPlan

LENGTH = "_length"
"""Ends the name of the input that says how many rows of another one count."""


@dataclass(frozen=True)
class Field:
    """One tensor.

    Attributes:
        name: of the input. key: in the encoder's batch; empty for ids. ragged: items differ in their first axis, and an input
            ``NAME_length`` goes with it. like: of one item.
    """

    name: str
    key: str
    ragged: bool
    like: Tensor


@dataclass(frozen=True)
class Place:
    """A column in a template, or a run of the template's own ids.

    Attributes:
        column, modality: empty for own ids. at: of the parts of the template. flat: keys whose items the encoder wants end to
            end, with their lengths beside them.
    """

    at: int
    column: str = ""
    modality: str = ""
    fields: tuple[Field, ...] = ()
    own: tuple[int, ...] = ()
    flat: tuple[str, ...] = ()


def places_of(model: Model, task: str, sample: Sample, modalities: set[str] | None) -> tuple[Place, ...]:
    """The parts of a task's template, as a prepared sample shows them.

    Args:
        modalities: those whose columns are read, in the order of the template, without its own text; None: the whole stream.
    """
    planned, found = model.plan.tasks[task], []
    for at, (part, made) in enumerate(zip(planned.parts, sample.parts, strict=True)):
        if not isinstance(part, Slot):
            if modalities is None and isinstance(made, Ids):
                found.append(Place(at, own=made.ids))
            continue
        modality = planned.modality_of[part.column]
        if modalities is None or modality in modalities:
            found.append(_place(model, at, part.column, modality, made))
    return _named(found)


def _named(places: Sequence[Place]) -> tuple[Place, ...]:
    """The places with names for their inputs: that of the column, with its tensor's where it has several, as a name of Python
    that no other input and no other's length has. A column that is twice in the template is one input."""
    names: dict[tuple[str, str], str] = {}
    taken: set[str] = set()
    for place in places:
        for field in place.fields:
            if (place.column, field.key) in names:
                continue
            wanted = place.column if len(place.fields) == 1 else f"{place.column}_{field.key}"
            name = plain = identifier(wanted)
            number = 2
            while {name, name + LENGTH} & taken:
                name, number = f"{plain}_{number}", number + 1
            taken |= {name, name + LENGTH}
            names[place.column, field.key] = name
    return tuple(
        replace(place, fields=tuple(replace(field, name=names[place.column, field.key]) for field in place.fields))
        for place in places
    )


def identifier(text: str) -> str:
    """A text as a name of an argument in Python."""
    name = re.sub(r"\W", "_", text)
    if not name.isidentifier() or keyword.iskeyword(name) or name == "self":
        name = f"{name}_" if name.isidentifier() else f"_{name}"
    return name


def _place(model: Model, at: int, column: str, modality: str, made: Ids | Media) -> Place:
    if isinstance(made, Ids):
        ids = torch.tensor(made.ids, dtype=torch.int64) - model.offsets[modality]
        return Place(at, column, modality, (Field(column, "", True, ids),))
    batch = model.parts.encoders[modality].processor().collate([made.item])
    keys = [key for key in batch if not key.endswith("lengths")]
    flat = tuple(key for key in keys if f"{key}_lengths" in batch)
    fields = []
    for key in keys:
        value, ragged = batch[key], key in flat or isinstance(batch[key], Ragged)
        tensor = value.values if isinstance(value, Ragged) else value if ragged else value[0]
        fields.append(Field(key, key, ragged, tensor))
    return Place(at, column, modality, tuple(fields), flat=flat)


def without(places: Sequence[Place], names: set[str]) -> tuple[Place, ...]:
    """The places without inputs that nothing reads, such as random numbers for the augmentation."""
    return _named(
        [replace(place, fields=tuple(field for field in place.fields if field.name not in names)) for place in places]
    )


def tensors_of(
    model: Model, places: Sequence[Place], samples: Sequence[Sample], alone: bool = False, least: int = 1
) -> dict[str, Tensor]:
    """The inputs of some samples, padded with zeros to the longest, or to ``least`` rows; of one sample ``alone``, without its
    lengths."""
    given: dict[str, Tensor] = {}
    for place in places:
        for field in place.fields:
            items = [_tensor(model, place, field, sample) for sample in samples]
            if not field.ragged:
                given[field.name] = torch.stack(items)
                continue
            lengths = [len(item) for item in items]
            padded = items[0].new_zeros(len(items), max(least, *lengths), *items[0].shape[1:])
            for row, item in zip(padded, items, strict=True):
                row[: len(item)] = item
            given[field.name] = padded
            if not alone:
                given[field.name + LENGTH] = torch.tensor(lengths)
    return given


def _tensor(model: Model, place: Place, field: Field, sample: Sample) -> Tensor:
    part = sample.parts[place.at]
    if isinstance(part, Ids):
        return torch.tensor(part.ids, dtype=torch.int64) - model.offsets[place.modality]
    one = model.parts.encoders[place.modality].processor().collate([part.item])[field.key]
    return one.values if isinstance(one, Ragged) else one if field.ragged else one[0]


def encoder_batch(place: Place, given: Mapping[str, Tensor], packed: bool) -> Batch:
    """What the encoder takes, of inputs; ``packed``: of one item, as ``Ragged``."""
    batch: dict[str, Any] = {}
    for field in place.fields:
        if not field.ragged:
            batch[field.key] = given[field.name]
            continue
        rows = Padded(given[field.name], given.get(field.name + LENGTH))
        lengths = rows.lengths
        batch[field.key] = one_item(rows) if packed else rows
        if packed and field.key in place.flat:
            batch[field.key], lengths = one_item(rows).values, one_item(rows).lengths
        if field.key in place.flat:
            batch[f"{field.key}_lengths"] = lengths
    return batch


def one_item(rows: Padded) -> Ragged:
    """A batch of one item, all of whose rows count, as components have it that want lengths as numbers."""
    return Ragged.sized(rows.values[0], [rows.longest])


def modalities_of(model: Model, task: TaskPlan, node: str) -> set[str] | None:
    """Modalities whose encoders a node is computed from; None: it reads the whole stream.

    Raises:
        MmkitError: the template has no column of one of them.
    """
    if node in model.plan.backbones:
        reads = model.plan.backbones[node].reads
        if not reads:
            return None
        found: set[str] = set()
        for read, _ in reads:
            inner = modalities_of(model, task, read)
            if inner is None:
                return None
            found |= inner
        return found
    name = node.rpartition(".")[0]
    if name not in task.modality_of.values():
        raise MmkitError(f"task {task.name!r} reads {node!r}, and no column of its input is of the modality {name!r}")
    return {name}
