"""Ragged: the only batch currency between the nodes of a model. Packed, never padded; ``Padded`` is its form in exported graphs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Ragged:
    """Items of different lengths laid end to end.

    ``values`` holds all rows of all items (features, hidden states or ids) on any device.
    ``lengths`` holds the rows of each item and **always lives on the CPU**, so no forward pass has to ask
    the device for a number.

    Raises:
        ValueError: the lengths do not add up to the rows of ``values``.
    """

    values: Shaped[Tensor, "total *dim"]
    lengths: Int[Tensor, " items"]
    sizes: list[int] = field(default_factory=list, kw_only=True, repr=False)
    """``lengths`` as plain integers; may be given where they are known already."""

    def __post_init__(self) -> None:
        if self.lengths.device.type not in ("cpu", "meta"):
            raise ValueError(f"Ragged.lengths must be on the CPU, got {self.lengths.device}")
        if not self.sizes and torch.compiler.is_exporting() and self.lengths.shape[0] == 1:
            object.__setattr__(self, "sizes", [self.values.shape[0]])  # of one item, without asking a tensor for it
        if not self.sizes:
            object.__setattr__(self, "sizes", [int(n) for n in self.lengths.tolist()])
        if sum(self.sizes) != self.values.shape[0]:
            raise ValueError(f"lengths add up to {sum(self.sizes)} rows, values have {self.values.shape[0]}")

    @property
    def offsets(self) -> Int[Tensor, " boundaries"]:
        """Where each item starts, and the total at the end (CPU)."""
        return torch.cat([torch.zeros(1, dtype=torch.int64), self.lengths.cumsum(0)])

    @property
    def device(self) -> torch.device:
        """Where the values live."""
        return self.values.device

    def __len__(self) -> int:
        return int(self.lengths.shape[0])

    @classmethod
    def of(cls, items: Sequence[Shaped[Tensor, "_ *dim"]]) -> "Ragged":
        """Pack a list of tensors, one an item, along their first axis."""
        return cls.sized(torch.cat(list(items)), [item.shape[0] for item in items])

    @classmethod
    def sized(cls, values: Shaped[Tensor, "total *dim"], sizes: Sequence[int]) -> "Ragged":
        """Items of these sizes. Made of plain integers, which torch.compile can follow, where it cannot a tensor's."""
        return cls(values, torch.tensor(sizes, dtype=torch.int64), sizes=list(sizes))

    @classmethod
    def equal(cls, rows: Shaped[Tensor, "items rows *dim"]) -> "Ragged":
        """Items that have as many rows, whatever their number. While a graph is exported with any number of items: ``Padded``."""
        if isinstance(rows.shape[0], torch.SymInt):
            return Padded(rows, None)
        return cls.sized(rows.flatten(0, 1), [rows.shape[1]] * rows.shape[0])

    @classmethod
    def from_padded(
        cls, padded: Shaped[Tensor, "items longest *dim"], lengths: Int[Tensor, " items"], side: str = "right"
    ) -> "Ragged":
        """Drop the padding of a batch whose items have these lengths; ``side`` says where the padding is."""
        mask = padding_mask(lengths.cpu(), padded.shape[1], side).to(padded.device)
        return cls(padded[mask], lengths.cpu())

    def to_padded(
        self, value: float = 0.0, side: str = "right"
    ) -> tuple[Shaped[Tensor, "items longest *dim"], Bool[Tensor, "items longest"]]:
        """A padded batch and the mask of its real rows; ``side`` is where the padding goes."""
        longest = max(self.sizes, default=0)
        if torch.compiler.is_exporting() and len(self.sizes) == 1:  # what scatters is not the same everywhere
            return self.values[None], torch.ones(1, longest, dtype=torch.bool, device=self.device)
        mask = padding_mask(self.lengths, longest, side).to(self.device)
        padded = self.values.new_full((len(self), longest, *self.values.shape[1:]), value)
        padded = padded.masked_scatter(_expand(mask, padded), self.values)
        return padded, mask

    def unpad(self, padded: Shaped[Tensor, "items longest *other"]) -> "Ragged":
        """The same items, taken out of a batch that is padded on the right: the way back from ``to_padded``."""
        total, longest = self.values.shape[0], padded.shape[1]
        gaps = torch.arange(len(self)) * longest - self.offsets[:-1]
        rows = torch.arange(total) + torch.repeat_interleave(gaps, self.lengths, output_size=total)
        return self.replace(padded.flatten(0, 1).index_select(0, rows.to(padded.device)))

    def split(self) -> list[Shaped[Tensor, "_ *dim"]]:
        """One tensor an item (views)."""
        return list(self.values.split(self.sizes))

    def select(self, items: Sequence[int]) -> "Ragged":
        """These items, in this order; rows are copied only where the items do not lie next to each other."""
        items = list(items)
        if not items:
            return Ragged(self.values[:0], self.lengths[:0])
        if items == list(range(items[0], items[-1] + 1)):
            first, last = items[0], items[-1] + 1
            if last - first == len(self):
                return self
            start, rows = sum(self.sizes[:first]), sum(self.sizes[first:last])
            return Ragged(self.values.narrow(0, start, rows), self.lengths[first:last])
        parts = self.split()
        return Ragged.of([parts[index] for index in items])

    def positions(self) -> Int[Tensor, " total"]:
        """The index of every row within its own item, on the device of the values."""
        total = self.values.shape[0]
        starts = torch.repeat_interleave(self.offsets[:-1], self.lengths, output_size=total)
        return (torch.arange(total) - starts).to(self.device)

    def segments(self) -> Int[Tensor, " total"]:
        """The item every row belongs to, on the device of the values."""
        items = torch.arange(len(self))
        return torch.repeat_interleave(items, self.lengths, output_size=self.values.shape[0]).to(self.device)

    def replace(self, values: Shaped[Tensor, "total *other"]) -> "Ragged":
        """The same items with other values of the same length."""
        return Ragged(values, self.lengths, sizes=self.sizes)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Ragged":
        """Move the values; the lengths stay on the CPU. Integers keep their type."""
        if dtype is not None and not self.values.is_floating_point():
            dtype = None
        return Ragged(self.values.to(device=device, dtype=dtype, non_blocking=True), self.lengths, sizes=self.sizes)


class NeedsLengthsError(TypeError):
    """Lengths were asked for as numbers while a graph is exported, which is for any lengths."""


class Padded(Ragged):
    """Items in an exported graph, where their number and their lengths are no numbers yet: all have ``longest`` rows.

    It stands for a ``Ragged`` where lengths are not asked for as numbers: ``sizes``, ``offsets``, ``split``, ``select`` and ``len``
    raise ``NeedsLengthsError``. A component that works on the last axis of ``values`` alone, or with ``to_padded`` and ``unpad``, needs
    to know nothing of it.

    Attributes:
        values: Float["items longest dim"], one axis more than a ``Ragged`` has; rows behind the end of an item may hold
            anything finite.
        lengths: rows of each item that count, on the device of the values. full: all of them do.
    """

    values: Shaped[Tensor, "items longest *dim"]
    lengths: Int[Tensor, " items"]
    full: bool

    def __init__(self, values: Shaped[Tensor, "items longest *dim"], lengths: Int[Tensor, " items"] | None) -> None:
        if lengths is None:
            known = torch.full((values.shape[0],), values.shape[1], dtype=torch.int64, device=values.device)
        fields = {"values": values, "lengths": known if lengths is None else lengths, "full": lengths is None}
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def sizes(self) -> NoReturn:
        """Not known."""
        _needs("Ragged.sizes")

    @property
    def offsets(self) -> NoReturn:
        """Not known."""
        _needs("Ragged.offsets")

    def __len__(self) -> NoReturn:
        _needs("len(ragged), where lengths.shape[0] would do")

    @property
    def longest(self) -> int:
        """Rows of every item, padding among them."""
        return self.values.shape[1]

    @property
    def mask(self) -> Bool[Tensor, "items longest"]:
        """True where a row counts."""
        return torch.arange(self.longest, device=self.device)[None, :] < self.lengths[:, None]

    def to_padded(
        self, value: float = 0.0, side: str = "right"
    ) -> tuple[Shaped[Tensor, "items longest *dim"], Bool[Tensor, "items longest"]]:
        """As of ``Ragged``, padding on the right only."""
        if side != "right":
            _needs("padding on the left")
        mask = self.mask
        return (self.values if self.full else self.values.masked_fill(~_expand(mask, self.values), value)), mask

    def unpad(self, padded: Shaped[Tensor, "items longest *other"]) -> "Padded":
        """The same items with other values."""
        return Padded(padded, None if self.full else self.lengths)

    def replace(self, values: Shaped[Tensor, "items longest *other"]) -> "Padded":
        """The same items with other values of the same length."""
        return self.unpad(values)

    def split(self) -> NoReturn:
        """Not known."""
        _needs("Ragged.split")

    def select(self, items: Sequence[int]) -> NoReturn:
        """Not known."""
        _needs("Ragged.select")

    def positions(self) -> Int[Tensor, "items longest"]:
        """The index of every row within its own item."""
        return torch.arange(self.longest, device=self.device).expand(self.values.shape[0], self.longest)

    def segments(self) -> Int[Tensor, "items longest"]:
        """The item every row belongs to, those that do not count too."""
        items = self.values.shape[0]
        return torch.arange(items, device=self.device)[:, None].expand(items, self.longest)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Padded":
        """As of ``Ragged``."""
        if dtype is not None and not self.values.is_floating_point():
            dtype = None
        return self.replace(self.values.to(device=device, dtype=dtype))

    @classmethod
    def equal(cls, rows: Shaped[Tensor, "items rows *dim"]) -> "Padded":
        """Items that have as many rows."""
        return cls(rows, None)


def _needs(what: str) -> NoReturn:
    raise NeedsLengthsError(f"it asks for {what}, and an exported graph is for any lengths")


def cat(parts: Sequence[Ragged]) -> Ragged:
    """All items of all parts, in order."""
    return Ragged(torch.cat([p.values for p in parts]), torch.cat([p.lengths for p in parts]))


def padding_mask(lengths: Int[Tensor, " items"], longest: int, side: str = "right") -> Bool[Tensor, "items longest"]:
    """True where a padded batch of items of these lengths has a real row."""
    grid = torch.arange(longest)
    if side == "right":
        return grid[None, :] < lengths[:, None]
    return grid[None, :] >= (longest - lengths)[:, None]


def _expand(mask: Bool[Tensor, "items longest"], padded: Tensor) -> Tensor:
    return mask.reshape(*mask.shape, *[1] * (padded.dim() - 2)).expand_as(padded)
