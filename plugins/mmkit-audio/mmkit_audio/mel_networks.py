"""The networks of the mel codec: log-mel frames → rows, and rows → frames. Each clip as if it were alone."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mmkit import Ragged

_WHOLE = 64
"""Sequences are a multiple of it long: libraries keep a program for every length of a convolution that they have met."""


class Block(nn.Module):
    """A block of ConvNeXt (Liu et al. 2022, figure 4) in one dimension, without its layer scale."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, 4 * dim)
        self.narrow = nn.Linear(4 * dim, dim)

    def forward(
        self, x: Float[Tensor, "total dim"], at: Int[Tensor, " total"], length: int
    ) -> Float[Tensor, "total dim"]:
        """Rows of all clips, which lie at the places ``at`` of a sequence with zeros between the clips."""
        spread = x.new_zeros(length, x.shape[1]).index_copy(0, at, x)
        mixed = self.depthwise(spread.T[None])[0].T.index_select(0, at).to(x.dtype)
        return x + self.narrow(functional.gelu(self.widen(self.norm(mixed)))).to(x.dtype)


class Blocks(nn.Module):
    """Blocks one after another."""

    def __init__(self, dim: int, layers: int, kernel: int) -> None:
        super().__init__()
        self.gap = kernel // 2
        self.blocks = nn.ModuleList(Block(dim, kernel) for _ in range(layers))

    def forward(self, rows: Ragged) -> Ragged:
        """The same items."""
        x = rows.values
        at, length = _spread(rows.sizes, 1, self.gap)
        at, length = at.to(x.device), -(-length // _WHOLE) * _WHOLE
        for block in self.blocks:
            x = block(x, at, length)
        return rows.replace(x)


class FramesToRows(nn.Module):
    """``stride`` frames side by side, the last ones filled up with zeros; blocks; a row of ``out_dim``."""

    def __init__(self, n_mels: int, stride: int, dim: int, layers: int, kernel: int, out_dim: int) -> None:
        super().__init__()
        self.stride = stride
        self.join = nn.Linear(stride * n_mels, dim)
        self.blocks = Blocks(dim, layers, kernel)
        self.norm = nn.LayerNorm(dim)
        self.output = nn.Linear(dim, out_dim)

    def forward(self, frames: Ragged) -> Ragged:
        """Float["frames n_mels"] → Float["rows out_dim"], frames / stride rows a clip, rounded up."""
        x = frames.values.to(self.join.weight.dtype)
        sizes = [-(-size // self.stride) for size in frames.sizes]
        at, length = _spread(frames.sizes, self.stride, 0)
        filled = x.new_zeros(length, x.shape[1]).index_copy(0, at.to(x.device), x)
        rows = Ragged.sized(self.join(filled.view(sum(sizes), -1)), sizes)
        rows = self.blocks(rows)
        return rows.replace(self.output(self.norm(rows.values)))


class RowsToFrames(nn.Module):
    """Blocks at the rate of the rows; ``stride`` frames a row, half as wide; two blocks at their rate; the bands."""

    def __init__(self, in_dim: int, n_mels: int, stride: int, dim: int, layers: int, kernel: int) -> None:
        super().__init__()
        self.stride = stride
        narrow = dim // 2
        self.input = nn.Linear(in_dim, dim)
        self.blocks = Blocks(dim, layers, kernel)
        self.part = nn.Linear(dim, stride * narrow)
        self.fine = Blocks(narrow, 2, kernel)
        self.norm = nn.LayerNorm(narrow)
        self.output = nn.Linear(narrow, n_mels)

    def forward(self, rows: Ragged) -> Ragged:
        """Float["rows in_dim"] → Float["frames n_mels"], ``stride`` frames a row."""
        x = self.blocks(rows.replace(self.input(rows.values.to(self.input.weight.dtype)))).values
        parts = self.part(x).view(x.shape[0] * self.stride, -1)
        frames = self.fine(Ragged.sized(parts, [size * self.stride for size in rows.sizes]))
        return frames.replace(self.output(self.norm(frames.values)))


def _spread(sizes: Sequence[int], step: int, gap: int) -> tuple[Int[Tensor, " total"], int]:
    """Places of all rows in a sequence in which every clip starts at a multiple of ``step``, with ``gap`` zeros after it;
    its length."""
    places, end = [], 0
    for size in sizes:
        places.append(torch.arange(end, end + size))
        end = -(-(end + size) // step) * step + gap
    return torch.cat(places), end
