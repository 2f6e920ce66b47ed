"""Keys and values of items that are decoded together, in places allocated ahead."""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

ROOM = 64  # places that are allocated ahead


class SlotCache:
    """The rows of every item end at the same place, so that a step writes one slice and masks nothing anew.

    Attributes:
        longest: places in use. starts: places of padding before each item's first row.
    """

    def __init__(self, sizes: Sequence[int], ahead: int = ROOM) -> None:
        self.longest = max(sizes, default=0)
        self.starts = [self.longest - size for size in sizes]
        self.room = self.longest + ahead
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}
        self.padding: Tensor | None = None

    def fill(
        self, layer: int, key: Float[Tensor, "1 heads total width"], value: Float[Tensor, "1 heads total width"]
    ) -> None:
        """The rows of all items, laid end to end."""
        for kept, rows in ((self.keys, key[0]), (self.values, value[0])):
            block, first = rows.new_zeros(len(self.starts), rows.shape[0], self.room, rows.shape[2]), 0
            for item, start in enumerate(self.starts):
                size = self.longest - start
                block[item, :, start : self.longest] = rows[:, first : first + size]
                first += size
            kept[layer] = block

    def advance(self) -> None:
        """Make room for one more row an item."""
        if self.longest == self.room:
            more = max(ROOM, self.room // 2)
            for kept in (self.keys, self.values):
                for layer, block in kept.items():
                    kept[layer] = functional.pad(block, (0, 0, 0, more))
            self.room, self.padding = self.room + more, None
        self.longest += 1

    def write(
        self, layer: int, key: Float[Tensor, "items heads 1 width"], value: Float[Tensor, "items heads 1 value_width"]
    ) -> None:
        """The new row of every item."""
        for kept, row in ((self.keys, key), (self.values, value)):
            if layer not in kept:
                kept[layer] = row.new_zeros(row.shape[0], row.shape[1], self.room, row.shape[3])
            kept[layer].narrow(2, self.longest - 1, 1).copy_(row)

    def read(
        self,
        layer: int,
        query: Float[Tensor, "items heads 1 width"],
        window: int | None = None,
        scaling: float | None = None,
    ) -> Float[Tensor, "items 1 heads value_width"]:
        """Attend to all rows of an item, or to the last ``window``; heads of a group see the same keys."""
        first = 0 if window is None else max(0, self.longest - window)
        keys, values = self.keys[layer], self.values[layer]
        items, groups = query.shape[0], keys.shape[1]
        rows = query.reshape(items, groups, -1, query.shape[3])
        if query.device.type == "cpu" and max(self.starts, default=0) > first:  # no time for padding
            items_alone = zip(rows.chunk(items), keys.chunk(items), values.chunk(items), self.starts, strict=True)
            parts = []
            for row, key, value, start in items_alone:
                begin, size = max(start, first), self.longest - max(start, first)
                seen, known = key.narrow(2, begin, size), value.narrow(2, begin, size)
                parts.append(functional.scaled_dot_product_attention(row, seen, known, scale=scaling))
            read = torch.cat(parts)
        else:
            mask, size = self._mask(query, slice(first, self.longest)), self.longest - first
            seen, known = keys.narrow(2, first, size), values.narrow(2, first, size)
            read = functional.scaled_dot_product_attention(rows, seen, known, attn_mask=mask, scale=scaling)
        return read.reshape(items, 1, query.shape[1], values.shape[3])

    def _mask(self, query: Tensor, seen: slice) -> Tensor | None:
        """What is added to the scores; None where no item has padding among what it sees."""
        if max(self.starts, default=0) <= seen.start:
            return None
        if self.padding is None or self.padding.dtype != query.dtype:
            starts = torch.tensor(self.starts)[:, None]
            padding = torch.where(torch.arange(self.room)[None] < starts, float("-inf"), 0.0)
            self.padding = padding.to(query.device, query.dtype)[:, None, None]
        return self.padding[..., seen]

    def select(self, items: Sequence[int], device: torch.device) -> "SlotCache":
        """A new cache with these items; the old one stays as it was. Padding that all of them share goes."""
        chosen = copy.copy(self)
        index = torch.tensor(items, dtype=torch.int64, device=device)
        starts = [self.starts[item] for item in items]
        spare = min(starts, default=0)
        chosen.starts = [start - spare for start in starts]
        chosen.longest, chosen.room, chosen.padding = self.longest - spare, self.room - spare, None
        for name in ("keys", "values"):
            kept: dict[int, Tensor] = getattr(self, name)
            setattr(chosen, name, {layer: block.index_select(0, index)[:, :, spare:] for layer, block in kept.items()})
        return chosen
