"""Prepared samples and the packed batch they form. Everything a forward needs to know is known here, on the CPU."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmkit.interfaces import Batch as EncoderBatch
from mmkit.interfaces import Item, Processor
from mmkit.model.cached import CachedItems, LooseItems, moved
from mmkit.ragged import Ragged


@dataclass(frozen=True)
class Ids:
    """A run of ids of the shared vocabulary in a stream; one that is ``whole`` is never cut (codes of a picture)."""

    ids: tuple[int, ...]
    whole: bool = False


@dataclass(frozen=True)
class Media:
    """One prepared item in a stream; ``tokens`` is how many tokens it promises, ``features`` how many features.

    Attributes:
        key: digest of its content, where the encoder has a cache. rows: its features, where they were found there;
            ``item`` is then empty.
    """

    modality: str
    item: Item
    features: int
    tokens: int
    key: bytes | None = None
    rows: Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy of the rows goes to another process: the view would drag its whole file along."""
        return {**self.__dict__, "rows": None if self.rows is None else self.rows.clone()}


@dataclass(frozen=True)
class Sample:
    """One prepared sample.

    Attributes:
        target: ids or values; None for prediction. reference: the raw output column, for metrics.
        address: where the row came from (``file:row``). whole: whether the target is never cut.
        columns: those of the row that metrics want.
    """

    task: str
    parts: tuple[Ids | Media, ...]
    target: Tensor | None = None
    reference: Any = None
    address: str = ""
    whole: bool = False
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BadSample:
    """A row that could not be used, and why."""

    address: str
    reason: str


@dataclass(frozen=True)
class PackedBatch:
    """Samples of any tasks and modalities, packed.

    Attributes:
        items: per modality, the encoder's batch of all items of all samples.
        cached: in its place, for a modality whose encoder has a cache: the features found, and the items left.
        features, tokens: per modality, the promised rows per item; owners: the sample of each item.
        ids: all ids of all streams; stream: rows of [ids | tokens of modality 1 | …] in stream order;
            stream_lengths: tokens per sample.
        targets: per task, one Ragged item per sample of that task.
    """

    tasks: tuple[str, ...]
    items: dict[str, EncoderBatch]
    features: dict[str, Tensor]
    tokens: dict[str, Tensor]
    owners: dict[str, list[int]]
    ids: Tensor
    stream: Tensor
    stream_lengths: Tensor
    targets: dict[str, Ragged]
    references: tuple[Any, ...] = ()
    addresses: tuple[str, ...] = ()
    bad: tuple[BadSample, ...] = ()
    denominators: Mapping[str, int] = field(default_factory=dict)
    cached: dict[str, CachedItems] = field(default_factory=dict)
    columns: tuple[Mapping[str, Any], ...] = ()

    def to(self, device: torch.device | str) -> "PackedBatch":
        """Move every tensor; lengths stay on the CPU."""
        return replace(
            self,
            items={name: moved(batch, device) for name, batch in self.items.items()},
            cached={name: part.to(device) for name, part in self.cached.items()},
            ids=self.ids.to(device, non_blocking=True),
            stream=self.stream.to(device, non_blocking=True),
            targets={name: target.to(device) for name, target in self.targets.items()},
        )

    def of_task(self, task: str) -> list[int]:
        """The samples of a task."""
        return [index for index, name in enumerate(self.tasks) if name == task]


def pack(
    samples: Sequence[Sample | BadSample], processors: Mapping[str, Processor], autoregressive: Sequence[str] = ()
) -> PackedBatch:
    """Join samples; bad ones are carried along by name. ``autoregressive`` tasks count target ids, others samples."""
    good = [s for s in samples if isinstance(s, Sample)]
    media: dict[str, list[Media]] = {}
    owners: dict[str, list[int]] = {}
    for index, sample in enumerate(good):
        for part in sample.parts:
            if isinstance(part, Media):
                media.setdefault(part.modality, []).append(part)
                owners.setdefault(part.modality, []).append(index)
    ids, stream, lengths = _layout(good, media)
    tasks = tuple(s.task for s in good)
    targets = {}
    for task in dict.fromkeys(tasks):
        wanted = [s.target for s in good if s.task == task and s.target is not None]
        if wanted:
            targets[task] = Ragged.of(wanted)
    return PackedBatch(
        tasks=tasks,
        items={
            name: processors[name].collate([part.item for part in parts])
            for name, parts in media.items()
            if parts[0].key is None
        },
        cached={name: _cached(parts) for name, parts in media.items() if parts[0].key is not None},
        features={name: torch.tensor([part.features for part in parts]) for name, parts in media.items()},
        tokens={name: torch.tensor([part.tokens for part in parts]) for name, parts in media.items()},
        owners=owners,
        ids=ids,
        stream=stream,
        stream_lengths=lengths,
        targets=targets,
        references=tuple(s.reference for s in good),
        addresses=tuple(s.address for s in good),
        columns=tuple(s.columns for s in good),
        bad=tuple(s for s in samples if isinstance(s, BadSample)),
        denominators=_counts(tasks, targets, autoregressive),
    )


def _cached(parts: Sequence[Media]) -> CachedItems:
    rows = [part.rows for part in parts if part.rows is not None]
    return CachedItems(
        keys=tuple(part.key or b"" for part in parts),
        found=tuple(part.rows is not None for part in parts),
        rows=Ragged.of(rows) if rows else None,
        items=LooseItems([part.item for part in parts if part.rows is None]),
    )


def _counts(tasks: Sequence[str], targets: Mapping[str, Ragged], autoregressive: Sequence[str]) -> dict[str, int]:
    counts = dict(Counter(tasks))
    for task in autoregressive:
        if task in targets:
            counts[task] = sum(targets[task].sizes)
    return counts


def _layout(samples: Sequence[Sample], media: Mapping[str, list[Media]]) -> tuple[Tensor, Tensor, Tensor]:
    """ids; where every stream token is found in [ids | modality 1 | modality 2 …]; tokens per sample."""
    runs = [part.ids for sample in samples for part in sample.parts if isinstance(part, Ids)]
    ids = np.fromiter(chain.from_iterable(runs), np.int64, sum(map(len, runs)))
    at, end = {"": 0}, len(ids)
    for name, items in media.items():
        at[name] = end
        end += sum(part.tokens for part in items)
    starts, counts, lengths = [], [], []
    for sample in samples:
        length = 0
        for part in sample.parts:
            name, count = ("", len(part.ids)) if isinstance(part, Ids) else (part.modality, part.tokens)
            starts.append(at[name])
            counts.append(count)
            at[name] += count
            length += count
        lengths.append(length)
    sizes = np.array(counts, dtype=np.int64)
    stream = np.arange(sizes.sum()) + np.repeat(np.array(starts, dtype=np.int64) - (sizes.cumsum() - sizes), sizes)
    return torch.from_numpy(ids), torch.from_numpy(stream), torch.tensor(lengths, dtype=torch.int64)
