"""Parts of a small transformer over packed rows: no layer and no attention sees padding."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mmkit import Padded, Ragged, uncompiled
from mmkit_text import kept
from mmkit_text.documents import Documents
from mmkit_text.packed_kernels import attend
from mmkit_text.slot_cache import SlotCache

_KERNELS = ("varlen", "documents")
Heads = Float[Tensor, "total heads head_dim"]
Keys = Float[Tensor, "keys heads head_dim"]


class Turns(NamedTuple):
    """Cosine and sine of every row's rotations, Float["total 1 half"]; the same for all layers and heads."""

    cos: Tensor
    sin: Tensor

    @classmethod
    def of(cls, positions: Int[Tensor, " total"], head_dim: int, dtype: torch.dtype) -> "Turns":
        """Base 10,000 (Su et al. 2021, section 3.4.2)."""
        half = head_dim // 2
        rates = torch.exp(-math.log(10_000.0) * torch.arange(half, device=positions.device) / half)
        angles = positions[..., None] * rates
        return cls(angles.cos().to(dtype)[..., None, :], angles.sin().to(dtype)[..., None, :])


def rotate(x: Heads, turns: Turns) -> Heads:
    """Rotary position embedding (Su et al. 2021, equation 34) within every head."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = turns
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class Layout:
    """Which rows of packed sequences see which.

    Args:
        sizes: rows of every sequence. causal: a row sees no later one.
        prompts: the first rows of every sequence that see each other whole, where the rest is causal (Raffel et al.
            2020, prefix LM).
        first: place of the first row among all rows of a sample, for those who watch its attention.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        device: torch.device,
        causal: bool = True,
        prompts: Sequence[int] | None = None,
        first: int = 0,
    ) -> None:
        self.first = first
        self.whole = Documents.of(sizes, device, kernels=_KERNELS, causal=causal)
        self.positions = torch.cat([torch.arange(0), *(torch.arange(size) for size in sizes)]).to(device)
        self.prompts: Documents | None = None
        if prompts is not None:
            self.prompts = Documents.of(prompts, device, kernels=_KERNELS, causal=False)
            rest = [size - prompt for size, prompt in zip(sizes, prompts, strict=True)]
            self.rest = Documents.of(rest, device, kernels=_KERNELS, keys=self.whole)

    @uncompiled
    def attend(self, query: Heads, key: Heads, value: Heads) -> Float[Tensor, "total dim"]:
        """Every sequence attends to itself. Compiled blocks call it as it is, whatever the lengths."""
        watcher = kept.current()
        if watcher is not None:
            return self._watched(watcher, query, key, value)
        if self.prompts is None or not len(query):
            return across(query, key, value, self.whole)
        pieces = [size for pair in zip(self.prompts.sizes, self.rest.sizes, strict=True) for size in pair]
        first, own_keys, own_values = (torch.cat(part.split(pieces)[::2]) for part in (query, key, value))
        prompts = across(first, own_keys, own_values, self.prompts)
        rest = across(torch.cat(query.split(pieces)[1::2]), key, value, self.rest)
        both = zip(prompts.split(self.prompts.sizes), rest.split(self.rest.sizes), strict=True)
        return torch.cat([piece for pair in both for piece in pair])

    def _watched(self, watcher: kept.Kept, query: Heads, key: Heads, value: Heads) -> Float[Tensor, "total dim"]:
        """The same for one sequence, its weights kept."""
        place = torch.arange(len(query), device=query.device)
        seen = place[:, None] >= place[None] if self.whole.causal else None
        if seen is not None and self.prompts is not None:
            seen = seen | (place < self.prompts.sizes[0])[None]
        places = place + self.first
        query, key, value = (part.transpose(0, 1) for part in (query, key, value))
        return watcher.attend(query, key, value, seen, None, places, places).flatten(1)


class PaddedLayout(Layout):
    """As ``Layout``, for sequences in an exported graph."""

    def __init__(self, rows: Padded, causal: bool) -> None:
        self.rows, self.causal, self.positions = rows, causal, rows.positions()

    def attend(self, query: Heads, key: Heads, value: Heads) -> Float[Tensor, "total dim"]:
        """Every sequence attends to itself; a row behind its end to at least one row, so that nothing is undefined."""
        rows, mask = self.rows, None
        if not self.causal and not rows.full:
            own = torch.eye(rows.longest, dtype=torch.bool, device=rows.device)
            mask = rows.mask[:, None, None, :] | own
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        read = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=self.causal)
        return read.transpose(1, 2).flatten(2)


def layout_of(rows: Ragged, causal: bool = True) -> Layout:
    """Of whole sequences."""
    return PaddedLayout(rows, causal) if isinstance(rows, Padded) else Layout(rows.sizes, rows.device, causal)


def across(query: Heads, key: Keys, value: Keys, documents: Documents) -> Float[Tensor, "total dim"]:
    """Attention of packed rows to packed rows."""
    query, key, value = (part.transpose(0, 1)[None] for part in (query, key, value))
    return attend(query, key, value, documents)[0].flatten(1)


class Attention(nn.Module):
    """The projections of multi-head attention."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim, bias=False) for _ in range(4))

    def split(self, rows: Float[Tensor, "n dim"]) -> Float[Tensor, "n heads head_dim"]:
        """Heads apart."""
        return rows.unflatten(-1, (self.heads, -1))


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(dim, hidden, bias=False), nn.Linear(dim, hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
        """Row by row."""
        return self.down(functional.silu(self.gate(x)) * self.up(x))


@dataclass(frozen=True)
class Memory:
    """Keys and values of an encoder's states, one zero row before each item's own: an item without states attends to
    that alone."""

    key: Keys
    value: Keys
    sizes: tuple[int, ...]

    @uncompiled
    def read(self, query: Heads, readers: Documents) -> Float[Tensor, "total dim"]:
        """Every item's rows attend to its own. Compiled blocks call it as it is, whatever the lengths."""
        return across(query, self.key, self.value, readers)


class Block(nn.Module):
    """Pre-norm self-attention, optional cross-attention, feed-forward."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float, cross: bool) -> None:
        super().__init__()
        self.attention, self.norm = Attention(dim, heads), nn.RMSNorm(dim)
        self.cross = Attention(dim, heads) if cross else None
        self.cross_norm = nn.RMSNorm(dim) if cross else None
        self.forward_norm, self.feed_forward = nn.RMSNorm(dim), FeedForward(dim, hidden)
        self.dropout = nn.Dropout(dropout)

    def keys(self, x: Float[Tensor, "total dim"], turns: Turns) -> tuple[Heads, Heads, Heads]:
        """Rotated queries and keys, and values."""
        normed, own = self.norm(x), self.attention
        query, key, value = (own.split(project(normed)) for project in (own.query, own.key, own.value))
        return rotate(query, turns), rotate(key, turns), value

    def memory(self, states: Float[Tensor, "total dim"], sizes: Sequence[int]) -> Memory:
        """What cross-attention reads of an encoder's states."""
        assert self.cross is not None
        zero = states.new_zeros(1, states.shape[1])
        parts = []
        for project in (self.cross.key, self.cross.value):
            rows = project(states)
            pieces = [piece for item in rows.split(list(sizes)) for piece in (zero.to(rows.dtype), item)]
            parts.append(self.cross.split(torch.cat(pieces)))
        return Memory(parts[0], parts[1], tuple(size + 1 for size in sizes))

    def read(self, x: Float[Tensor, "total dim"], memory: Memory, readers: Documents) -> Float[Tensor, "total dim"]:
        """Cross-attention."""
        assert self.cross is not None
        assert self.cross_norm is not None
        query = self.cross.split(self.cross.query(self.cross_norm(x)))
        watcher = kept.current()
        if watcher is None:
            found = memory.read(query, readers)
        else:
            found = _watched_cross(watcher, query, memory)
        return x + self.dropout(self.cross.out(found))

    def read_step(self, x: Float[Tensor, "items dim"], memory: SlotCache, layer: int) -> Float[Tensor, "items dim"]:
        """Cross-attention of one row an item."""
        assert self.cross is not None
        assert self.cross_norm is not None
        query = self.cross.split(self.cross.query(self.cross_norm(x)))[:, :, None]
        return x + self.dropout(self.cross.out(memory.read(layer, query).flatten(1)))

    def add(self, x: Float[Tensor, "n dim"], read: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
        """What self-attention read, into the stream."""
        return x + self.dropout(self.attention.out(read))

    def finish(self, x: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
        """The feed-forward half."""
        return x + self.dropout(self.feed_forward(self.forward_norm(x)))

    def forward(
        self,
        x: Float[Tensor, "total dim"],
        turns: Turns,
        layout: Layout,
        memory: Memory | None = None,
        readers: Documents | None = None,
    ) -> Float[Tensor, "total dim"]:
        """``memory`` is read by cross-attention; ``readers`` says which of its rows each item reads."""
        x = self.add(x, layout.attend(*self.keys(x, turns)))
        if memory is not None and readers is not None:
            x = self.read(x, memory, readers)
        return self.finish(x)


def _watched_cross(watcher: kept.Kept, query: Heads, memory: Memory) -> Float[Tensor, "total dim"]:
    """Cross-attention of one sample, its weights kept; the zero row is nothing of the sample."""
    keys = torch.arange(memory.sizes[0], device=query.device) - 1
    queries = torch.arange(len(query), device=query.device) + len(keys) - 1
    query, key, value = (part.transpose(0, 1) for part in (query, memory.key, memory.value))
    return watcher.attend(query, key, value, None, None, queries, keys).flatten(1)


def initialise(module: nn.Module, blocks: int) -> None:
    """Normal weights with deviation 1/√fan_in; the layers that write into the residual stream are smaller by
    1/√(2·blocks) (Radford et al. 2019, section 2.3)."""
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear):
            writes = name.endswith((".out", ".down"))
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5 / ((2 * blocks) ** 0.5 if writes else 1.0))
