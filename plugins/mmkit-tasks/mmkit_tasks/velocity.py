"""The network of ``flow``: a Transformer over vectors, steered by time and condition (DiT, Peebles and Xie 2023)."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from mmkit import Ragged
from mmkit_tasks.pooling import pool_items
from mmkit_tasks.positions import sinusoids

_PERIODS = 1000
"""Times 0 … 1 are spread over this many positions of the sinusoids."""


@dataclass(frozen=True)
class Condition:
    """What the values are to be like.

    Attributes:
        vector: steers every layer. rows: what every layer attends to, the answer to nothing first; ``mask``: real ones.
    """

    vector: Float[Tensor, "items width"]
    rows: Float[Tensor, "items keys width"] | None = None
    mask: Bool[Tensor, "items keys"] | None = None

    def repeated(self, times: int) -> "Condition":
        """Every item several times in a row."""
        parts = (self.vector, self.rows, self.mask)
        return Condition(*(None if p is None else p.repeat_interleave(times, 0) for p in parts))  # type: ignore[arg-type]

    def joined(self, other: "Condition") -> "Condition":
        """The items of both."""
        pairs = ((self.vector, other.vector), (self.rows, other.rows), (self.mask, other.mask))
        return Condition(*(None if a is None or b is None else torch.cat([a, b]) for a, b in pairs))  # type: ignore[arg-type]


class Reader(nn.Module):
    """Rows of a node → condition."""

    def __init__(self, in_dim: int, dim: int, pool: str, attend: bool, droppable: bool) -> None:
        super().__init__()
        self.pool = pool
        self.vector = nn.Sequential(nn.LayerNorm(in_dim), nn.Linear(in_dim, dim))
        self.nothing = nn.Parameter(torch.randn(dim) * 0.02) if droppable else None
        self.rows = nn.Sequential(nn.LayerNorm(in_dim), nn.Linear(in_dim, dim)) if attend else None
        self.no_row = nn.Parameter(torch.randn(dim) * 0.02) if attend else None

    def forward(self, features: Ragged) -> Condition:
        """Float["total in_dim"] → a condition an item; an item without rows attends to a learnt row."""
        condition = Condition(self.vector(pool_items(features, self.pool)))
        if self.rows is None or self.no_row is None:
            return condition
        padded, mask = features.replace(self.rows(features.values)).to_padded()
        items = len(features)
        first = self.no_row.to(padded.dtype).expand(items, 1, -1)
        return replace(
            condition, rows=torch.cat([first, padded], 1), mask=torch.cat([mask.new_ones(items, 1), mask], 1)
        )

    def without(self, condition: Condition, dropped: Bool[Tensor, " items"]) -> Condition:
        """Nothing in place of the condition of these items."""
        assert self.nothing is not None
        vector = torch.where(dropped[:, None], self.nothing.to(condition.vector.dtype), condition.vector)
        if condition.mask is None:
            return replace(condition, vector=vector)
        kept = ~dropped[:, None] | (torch.arange(condition.mask.shape[1], device=dropped.device) == 0)
        return replace(condition, vector=vector, mask=condition.mask & kept)


class Layer(nn.Module):
    """Self-attention, cross-attention where there are rows (as in PixArt-α, Chen et al. 2023), feed-forward network; their
    shift, scale and gate are of the steering vector and zero at first (adaLN-Zero)."""

    def __init__(self, dim: int, heads: int, attend: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.to_all, self.to_out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.feedforward = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU("tanh"), nn.Linear(4 * dim, dim))
        self.steer = _zero(nn.Linear(dim, 6 * dim))
        self.query = nn.Linear(dim, dim) if attend else None
        self.key_value = nn.Linear(dim, 2 * dim) if attend else None
        self.cross_out = _zero(nn.Linear(dim, dim)) if attend else None

    def forward(
        self, x: Float[Tensor, "items n dim"], steering: Float[Tensor, "items dim"], condition: Condition
    ) -> Float[Tensor, "items n dim"]:
        """``steering`` is of time and condition."""
        shift, scale, gate, shift2, scale2, gate2 = self.steer(steering)[:, None].chunk(6, dim=-1)
        query, key, value = self.to_all(_moved(self.norm(x), shift, scale)).chunk(3, dim=-1)
        x = x + gate * self.to_out(self._attend(query, key, value))
        if self.query is not None and self.key_value is not None and self.cross_out is not None:
            assert condition.rows is not None
            key, value = self.key_value(condition.rows).chunk(2, dim=-1)
            x = x + self.cross_out(self._attend(self.query(self.norm(x)), key, value, condition.mask))
        return x + gate2 * self.feedforward(_moved(self.norm(x), shift2, scale2))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        seen = None if mask is None else mask[:, None, None]
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).flatten(2)


class VelocityNet(nn.Module):
    """Vectors on the way from noise to data, the time, and the condition → the velocity of every vector."""

    def __init__(self, shape: tuple[int, int], dim: int, layers: int, heads: int, attend: bool) -> None:
        super().__init__()
        length, width = shape
        self.dim = dim
        self.project_in = nn.Linear(width, dim)
        self.positions = nn.Parameter(torch.randn(length, dim) * 0.02)
        self.time = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.layers = nn.ModuleList(Layer(dim, heads, attend) for _ in range(layers))
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.steer = _zero(nn.Linear(dim, 2 * dim))
        self.project_out = _zero(nn.Linear(dim, width))

    def forward(
        self, x: Float[Tensor, "items n width"], times: Float[Tensor, " items"], condition: Condition
    ) -> Float[Tensor, "items n width"]:
        """Zero before anything is learnt."""
        told = sinusoids(times.float() * _PERIODS, self.dim).to(self.positions.dtype)
        steering = functional.silu(self.time(told) + condition.vector)
        rows = self.project_in(x.to(self.positions.dtype)) + self.positions
        for layer in self.layers:
            rows = layer(rows, steering, condition)
        shift, scale = self.steer(steering)[:, None].chunk(2, dim=-1)
        return self.project_out(_moved(self.norm(rows), shift, scale))


def _moved(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x * (1 + scale) + shift


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
