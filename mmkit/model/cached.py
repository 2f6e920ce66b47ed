"""Items whose features may already lie in a cache: how they travel in a batch, and how the rest is encoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from mmkit.interfaces import Batch, Encoder, Item
from mmkit.ragged import Ragged

_ALIGNED = 16


@runtime_checkable
class FeatureReader(Protocol):
    """Finds features by content, in any process; picklable."""

    def find(self, key: bytes) -> Tensor | None:
        """Float["features dim"] of this content, a view of a file; None where it is not there (any more)."""


@runtime_checkable
class FeatureCache(Protocol):
    """The cache of one encoder, in the process that runs the model."""

    @property
    def reader(self) -> FeatureReader:
        """Also for data workers."""

    def flush(self) -> None:
        """Write what earlier passes ``put``: called between passes, when their results are there."""

    def put(self, keys: Sequence[bytes], features: Ragged) -> None:
        """Remember the features of new contents, one item a key."""

    def count(self, hits: int, misses: int) -> None:
        """How many items of a pass were found, how many had to be encoded."""


class LooseItems:
    """Prepared items that are not collated yet. Between processes they travel as one tensor: a file descriptor a
    tensor, as PyTorch sends them, would soon exhaust the limit."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = list(items)

    def __getstate__(self) -> dict[str, Any]:
        pieces, layout, end = [], [], 0
        for item in self.items:
            places = {}
            for name, tensor in item.items():
                raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
                places[name] = (end, raw.shape[0], tensor.dtype, tuple(tensor.shape))
                filling = -raw.shape[0] % _ALIGNED
                pieces += [raw, raw.new_zeros(filling)]
                end += raw.shape[0] + filling
            layout.append(places)
        return {"bytes": torch.cat(pieces) if pieces else torch.zeros(0, dtype=torch.uint8), "layout": layout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        raw: Tensor = state["bytes"]
        self.items = [
            {name: raw[at : at + size].view(kind).reshape(shape) for name, (at, size, kind, shape) in places.items()}
            for places in state["layout"]
        ]


@dataclass(frozen=True)
class CachedItems:
    """All items of one modality of a batch, where its encoder has a cache.

    Attributes:
        keys: content of every item. found: whether its features were found while it was prepared.
        rows: features of the found items, in order (None: none was found). items: the others, in order.
    """

    keys: tuple[bytes, ...]
    found: tuple[bool, ...]
    rows: Ragged | None
    items: LooseItems

    def to(self, device: torch.device | str) -> "CachedItems":
        """Move the features; items stay on the CPU until they are collated."""
        rows = None if self.rows is None else self.rows.to(device)
        return CachedItems(self.keys, self.found, rows, self.items)


def moved(batch: Batch, device: torch.device | str) -> Batch:
    """An encoder's batch on a device; lengths stay on the CPU."""
    return {name: value if name.endswith("lengths") else value.to(device=device) for name, value in batch.items()}


def encode(
    encoder: Encoder, part: CachedItems, promised: Sequence[int], cache: FeatureCache, device: torch.device
) -> Ragged:
    """Features of all items: the found ones as they are, all others in one call of the encoder.

    What the encoder sees is decided here and not in a data worker, in the order of the passes: how far workers had
    got ahead changes no result. A content that comes twice is encoded once. Features are remembered only where the
    encoder kept its promise of how many there are.
    """
    cache.flush()
    known: dict[bytes, Tensor] = {}
    new: dict[bytes, tuple[int, Item]] = {}
    absent = [index for index, found in enumerate(part.found) if not found]
    for index, item in zip(absent, part.items.items, strict=True):
        key = part.keys[index]
        if key not in known and key not in new:
            stored = cache.reader.find(key)
            if stored is None:
                new[key] = (index, item)
            else:
                known[key] = stored.to(device)
    cache.count(len(part.keys) - len(new), len(new))
    if new:
        fresh = encoder(moved(encoder.processor().collate([item for _, item in new.values()]), device))
        if fresh.sizes == [promised[index] for index, _ in new.values()]:
            cache.put(list(new), fresh)
        if len(new) == len(part.keys):
            return fresh
        known.update(zip(new, fresh.split(), strict=True))
    if part.rows is not None and not absent:
        return part.rows
    rows = iter(part.rows.split() if part.rows is not None else ())
    return Ragged.of([next(rows) if found else known[key] for key, found in zip(part.keys, part.found, strict=True)])
