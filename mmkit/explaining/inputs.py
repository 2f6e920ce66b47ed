"""What an answer is led back to: embedded ids, and what encoders read where that is real numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mmkit.model.batch import Ids, PackedBatch, Sample, pack
from mmkit.model.model import Model, Run
from mmkit.ragged import Ragged
from mmkit.spec.template import Literal

EMBEDDED, FEATURES = "embedded", "features"


@dataclass(frozen=True)
class Input:
    """A tensor that belongs to one column of a sample.

    Attributes:
        slot: place among the parts of the sample. key: ``embedded`` (one row an id), ``features`` (rows of an encoder that
            reads no real numbers), or the name of the tensor in the encoder's batch.
        value: Float["rows …"]. baseline: in its place where there is nothing: of ids the vocabulary's begin id, which no
            value contains; else zero. (Zero would be no baseline for ids: most backbones first normalise what they read, so
            that all of the score would come and go right beside zero.)
    """

    slot: int
    column: str
    modality: str
    key: str
    value: Tensor
    baseline: Tensor


class Inputs:
    """A sample taken apart into tensors that can be varied, and put together again, several copies at once."""

    def __init__(self, model: Model, task: str, sample: Sample, score: Callable[[Run], Tensor]) -> None:
        self.model, self.sample = model, sample
        parts = model.plan.tasks[task].parts
        self.columns = {
            slot: (part.column, model.plan.tasks[task].modality_of[part.column])
            for slot, part in enumerate(parts)
            if not isinstance(part, Literal)
        }
        self.batches: dict[int, PackedBatch] = {}
        batch = self.batch(1)
        backbone = model.parts.backbones.get("backbone")
        with torch.no_grad():
            known = backbone is not None and batch.ids.shape[0]
            self.rows = backbone.embed(batch.ids).detach() if backbone is not None and known else None
        self.all = [*self._embedded(), *self._items(batch)]
        self._keep_used(score)

    def batch(self, copies: int) -> PackedBatch:
        """So many copies of the sample."""
        if copies not in self.batches:
            packed = pack([self.sample] * copies, self.model.processors())
            self.batches[copies] = packed.to(self.model.device)
        return self.batches[copies]

    def _slots(self, modality: str) -> list[int]:
        return [slot for slot, (_, name) in self.columns.items() if name == modality]

    def _embedded(self) -> list[Input]:
        found: list[Input] = []
        start, backbone = 0, self.model.parts.backbones.get("backbone")
        if backbone is None:
            return found
        for slot, part in enumerate(self.sample.parts):
            if not isinstance(part, Ids):
                continue
            end = start + len(part.ids)
            if slot in self.columns and self.rows is not None:
                column, modality = self.columns[slot]
                begin = self.model.vocabularies[modality].begin_id + self.model.offsets[modality]
                with torch.no_grad():
                    nothing = backbone.embed(torch.full((end - start,), begin, device=self.model.device))
                found.append(Input(slot, column, modality, EMBEDDED, self.rows[start:end], nothing))
            start = end
        return found

    def _items(self, batch: PackedBatch) -> list[Input]:
        """Every tensor of real numbers that has a part for each item."""
        found = []
        for modality, items in batch.items.items():
            slots = self._slots(modality)
            for key, tensor in items.items():
                if len(tensor) == len(slots) and _values(tensor).is_floating_point():
                    parts = tensor.split() if isinstance(tensor, Ragged) else list(tensor)
                    found += [self._input(slot, key, part) for slot, part in zip(slots, parts, strict=True)]
        return found

    def _keep_used(self, score: Callable[[Run], Tensor]) -> None:
        """Drop tensors that the score does not depend on; of a modality that is left with none, take its features."""
        values = [given.value[None].detach().requires_grad_() for given in self.all]
        run = self.run(values)
        total = score(run).sum()
        grads: Sequence[Tensor | None] = [None] * len(values)
        if total.requires_grad and values:
            grads = torch.autograd.grad(total, values, allow_unused=True)
        kept = [given for given, grad in zip(self.all, grads, strict=True) if grad is not None or given.key == EMBEDDED]
        for modality in self.batch(1).features:
            if not any(given.modality == modality for given in kept):
                kept += self._features(modality, run)
        self.all = sorted(kept, key=lambda given: given.slot)

    def _features(self, modality: str, run: Run) -> list[Input]:
        features, _ = run.features[f"{modality}.encoder"]
        parts = features.values.detach().split(self.batch(1).features[modality].tolist())
        return [self._input(slot, FEATURES, part) for slot, part in zip(self._slots(modality), parts, strict=True)]

    def _input(self, slot: int, key: str, value: Tensor) -> Input:
        return Input(slot, *self.columns[slot], key, value, torch.zeros_like(value))

    def run(self, values: Sequence[Tensor]) -> Run:
        """The pass over copies of the sample with these tensors, Float["copies rows …"], in place of its own."""
        copies = values[0].shape[0] if values else 1
        batch, given = self.batch(copies), dict(zip(((i.slot, i.key) for i in self.all), values, strict=True))
        items: dict[str, Any] = dict(batch.items)
        features: dict[str, Ragged] = {}
        for modality in batch.features:
            slots = self._slots(modality)
            keys = [key for slot, key in given if slot == slots[0]]
            if keys == [FEATURES]:
                rows = torch.cat([given[slot, FEATURES] for slot in slots], 1).flatten(0, 1)
                features[modality] = Ragged(rows, batch.features[modality])
            elif keys:
                own = {key: _joined(items[modality][key], [given[slot, key] for slot in slots]) for key in keys}
                items[modality] = {**items[modality], **own}
        return Run(self.model, replace(batch, items=items), self._rows(given, copies), features)

    def _rows(self, given: dict[tuple[int, str], Tensor], copies: int) -> Tensor | None:
        """The embedded ids of all copies; the template's own words stay as they are."""
        if self.rows is None:
            return None
        pieces, start = [], 0
        for slot, part in enumerate(self.sample.parts):
            if isinstance(part, Ids):
                end = start + len(part.ids)
                own = self.rows[start:end].expand(copies, -1, -1)
                pieces.append(given.get((slot, EMBEDDED), own))
                start = end
        return torch.cat(pieces, 1).flatten(0, 1)


def _values(tensor: Tensor | Ragged) -> Tensor:
    return tensor.values if isinstance(tensor, Ragged) else tensor


def _joined(like: Tensor | Ragged, parts: Sequence[Tensor]) -> Tensor | Ragged:
    """The items of all copies, as ``collate`` lays them: all of one copy, then those of the next."""
    if isinstance(like, Ragged):
        return like.replace(torch.cat(list(parts), 1).flatten(0, 1))
    return torch.stack(list(parts), 1).flatten(0, 1)
