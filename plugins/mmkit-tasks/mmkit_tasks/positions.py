"""Position embeddings for the tokens of an item, along one axis or over a grid."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor, nn

from mmkit import Padded, Ragged, SampleError


def sinusoids(positions: Real[Tensor, " n"], dim: int) -> Float[Tensor, "n dim"]:
    """Sines, then cosines, of geometrically spaced frequencies (Vaswani et al. 2017, section 3.5)."""
    half = (dim + 1) // 2
    steps = torch.arange(half, device=positions.device, dtype=torch.float32)
    angles = positions[..., None].float() * torch.exp(steps * (-2 * math.log(10_000.0) / dim))
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[..., :dim]


class Positions(nn.Module):
    """Adds to every token what says where in its item it is.

    ``sinusoidal`` and ``learned`` count rows; the ``_2d`` forms read rows as a grid, row by row, and join the
    embedding of the row (first half of the width) and of the column. Without ``grid`` the grid is square.
    """

    def __init__(self, kind: str, dim: int, max_positions: int, grid: tuple[int, int] | None) -> None:
        super().__init__()
        self.kind, self.dim, self.max_positions, self.grid = kind, dim, max_positions, grid
        self.planar = kind.endswith("_2d")
        widths = [dim // 2, dim - dim // 2] if self.planar else [dim]
        tables = [nn.Embedding(max_positions, width) for width in widths] if kind.startswith("learned") else []
        for table in tables:
            nn.init.normal_(table.weight, std=0.02)
        self.tables = nn.ModuleList(tables)
        self.widths = widths

    def check(self, count: int) -> None:
        """Whether an item of this many tokens has positions.

        Raises:
            SampleError: it does not form the grid, or is longer than the learned tables.
        """
        longest = max(self._shape(count)) if self.planar else count
        if len(self.tables) and longest > self.max_positions:
            raise SampleError(
                f"an item needs {longest} {self.kind} positions, the table has {self.max_positions}; "
                "raise max_positions, or use sinusoidal positions"
            )

    def _shape(self, count: int) -> tuple[int, int]:
        """Rows and columns of an item of this many tokens."""
        side = math.isqrt(count)
        if self.grid is None and side * side == count:
            return side, side
        if self.grid is not None and self.grid[0] * self.grid[1] == count:
            return self.grid
        wanted = "a square number" if self.grid is None else f"{self.grid[0]} x {self.grid[1]} (grid)"
        raise SampleError(
            f"{self.kind} positions need a full grid: an item has {count} tokens, wanted {wanted}; "
            "set grid: [rows, columns] to the shape that the encoder gives, or use 1-D positions"
        )

    def _coordinates(self, tokens: Ragged) -> list[Int[Tensor, " total"]]:
        """Row and column of every token, or only its place in the item; computed on the CPU."""
        if isinstance(tokens, Padded):
            return self._padded(tokens)
        for count in set(tokens.sizes):
            self.check(count)
        if not self.planar:
            return [tokens.positions()]
        columns = torch.tensor([max(1, self._shape(count)[1]) for count in tokens.sizes], dtype=torch.int64)
        width = torch.repeat_interleave(columns, tokens.lengths)
        places = torch.arange(int(tokens.values.shape[0])) - torch.repeat_interleave(
            tokens.offsets[:-1], tokens.lengths
        )
        return [(places // width).to(tokens.device), (places % width).to(tokens.device)]

    def _padded(self, tokens: Padded) -> list[Int[Tensor, " total"]]:
        """As ``_coordinates`` in an exported graph, where a grid is one that all items fill."""
        places = tokens.positions()
        if not self.planar:
            return [places]
        if not tokens.full:
            raise TypeError(f"{self.kind} positions need items of one length, and an exported graph is for any lengths")
        columns = max(1, self._shape(tokens.longest)[1])
        return [places // columns, places % columns]

    def forward(self, tokens: Ragged) -> Ragged:
        """The same items with positions added."""
        coordinates = self._coordinates(tokens)
        parts: Sequence[Tensor]
        if len(self.tables):
            parts = [table(places) for table, places in zip(self.tables, coordinates, strict=True)]
        else:
            parts = [sinusoids(places, width) for places, width in zip(coordinates, self.widths, strict=True)]
        return tokens.replace(tokens.values + torch.cat(list(parts), dim=-1).to(tokens.values.dtype))


def make_positions(kind: str, dim: int, max_positions: int, grid: tuple[int, int] | None) -> Positions | None:
    """Positions, or None for ``none``."""
    return None if kind == "none" else Positions(kind, dim, max_positions, grid)
