"""Adapters that work row by row, on neighbouring rows, or on all rows of an item."""

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from mmkit import BuildContext, Padded, Ragged, SoftAdapter
from mmkit_tasks.pooling import attend_items, pool_items
from mmkit_tasks.positions import Positions, make_positions


class RowAdapter(SoftAdapter):
    """One network for every row, then positions where wanted: ``linear`` and ``mlp``."""

    def __init__(self, network: nn.Module, out_dim: int, positions: Positions | None) -> None:
        super().__init__()
        self.network, self.positions = network, positions
        self.out_dim = out_dim

    def num_tokens(self, num_features: int) -> int:
        """One token a row; raises SampleError where the item has no positions."""
        if self.positions is not None:
            self.positions.check(num_features)
        return num_features

    def forward(self, features: Ragged) -> Ragged:
        """Float["total in_dim"] → Float["total out_dim"]."""
        tokens = features.replace(self.network(features.values))
        return tokens if self.positions is None else self.positions(tokens)


class Stack(SoftAdapter):
    """Joins ``factor`` neighbouring rows into one (as in SLAM-ASR, Ma et al. 2024), then projects."""

    def __init__(self, in_dim: int, out_dim: int, factor: int, hidden: int | None, norm: bool) -> None:
        super().__init__()
        self.factor, self.out_dim = factor, out_dim
        wide = in_dim * factor
        last = [nn.Linear(hidden, out_dim)] if hidden else []
        first = nn.Linear(wide, hidden or out_dim)
        self.network = nn.Sequential(
            *([nn.LayerNorm(wide)] if norm else []), first, *([nn.GELU()] if hidden else []), *last
        )

    def num_tokens(self, num_features: int) -> int:
        """ceil(num_features / factor)."""
        return math.ceil(num_features / self.factor)

    def forward(self, features: Ragged) -> Ragged:
        """Float["total in_dim"] → Float["groups out_dim"]; the last group of an item is filled up with zeros."""
        if isinstance(features, Padded):
            return self._padded(features)
        sizes = [self.num_tokens(size) for size in features.sizes]
        tokens = torch.tensor(sizes, dtype=torch.int64)
        starts = (tokens.cumsum(0) - tokens) * self.factor
        total = features.values.shape[0]
        shift = torch.repeat_interleave(starts - features.offsets[:-1], features.lengths, output_size=total)
        index = (torch.arange(total) + shift).to(features.device)
        grouped = features.values.new_zeros(sum(sizes) * self.factor, features.values.shape[1])
        grouped = grouped.index_copy(0, index, features.values).reshape(sum(sizes), -1)
        return Ragged.sized(self.network(grouped), sizes)

    def _padded(self, features: Padded) -> Padded:
        """As ``forward``, in an exported graph."""
        rows = functional.pad(features.to_padded()[0], (0, 0, 0, -features.longest % self.factor))
        grouped = self.network(rows.unflatten(1, (-1, self.factor)).flatten(2))
        return Padded(grouped, None if features.full else (features.lengths + self.factor - 1) // self.factor)


class Pool(SoftAdapter):
    """All rows of an item → one token. ``attention`` weighs rows by a learned score (Lin et al. 2017)."""

    def __init__(self, in_dim: int, out_dim: int, how: str) -> None:
        super().__init__()
        self.how, self.out_dim = how, out_dim
        self.score = nn.Linear(in_dim, 1, bias=False) if how == "attention" else None
        self.project = nn.Linear(in_dim, out_dim) if in_dim != out_dim else nn.Identity()

    def num_tokens(self, num_features: int) -> int:
        """Always one."""
        return 1

    def forward(self, features: Ragged) -> Ragged:
        """Float["total in_dim"] → Float["items out_dim"]; an empty item is pooled to zeros."""
        if self.score is not None:
            pooled = attend_items(features, self.score(features.values)[..., 0])
        else:
            pooled = pool_items(features, self.how)
        return features.equal(self.project(pooled)[:, None])


def build_linear(
    context: BuildContext, *, bias: bool, positions: str, max_positions: int, grid: tuple[int, int] | None
) -> RowAdapter:
    """One linear layer."""
    network = nn.Linear(context.in_dim, context.out_dim, bias=bias)
    return RowAdapter(network, context.out_dim, make_positions(positions, context.out_dim, max_positions, grid))


def build_mlp(
    context: BuildContext,
    *,
    hidden: int | None,
    layers: int,
    norm: bool,
    dropout: float,
    positions: str,
    max_positions: int,
    grid: tuple[int, int] | None,
) -> RowAdapter:
    """Linear layers with GELU between them, as the projector of LLaVA-1.5 (Liu et al. 2023)."""
    widths = [context.in_dim, *[hidden or context.out_dim] * (layers - 1), context.out_dim]
    network = nn.Sequential(nn.LayerNorm(context.in_dim)) if norm else nn.Sequential()
    for number, (before, after) in enumerate(pairwise(widths), 1):
        network.append(nn.Linear(before, after))
        if number < layers:
            network.append(nn.GELU())
            network.append(nn.Dropout(dropout))
    return RowAdapter(network, context.out_dim, make_positions(positions, context.out_dim, max_positions, grid))


def build_stack(context: BuildContext, *, factor: int, hidden: int | None, norm: bool) -> Stack:
    """Downsampling in time by concatenation."""
    return Stack(context.in_dim, context.out_dim, factor, hidden, norm)


def build_pool(context: BuildContext, *, how: str) -> Pool:
    """One token an item."""
    return Pool(context.in_dim, context.out_dim, how)
