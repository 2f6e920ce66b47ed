"""Finite scalar quantisation (Mentzer et al. 2023): every number of a row is rounded to one of a few steps.

Of several codebooks each has numbers of its own (``group``: Casanova et al. 2024, *Low Frame-rate Speech Codec*), or those
after the first quantise what the ones before left over (``residual``), as in a residual quantiser (Zeghidour et al. 2021):
each divides a step of the one before into as many equal parts as its number has levels.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

_EPSILON = 1e-3
Split = Literal["residual", "group"]


class Fsq(nn.Module):
    """Rows → quantised rows, with the gradient passed straight through the rounding. No weights.

    Attributes:
        codes: numbers of one codebook. width: numbers of a row that is quantised, with ``group`` of all codebooks. A
            quantised row has the numbers of all codebooks side by side, ``quantised`` of them, each from -1 to 1.
    """

    def __init__(self, levels: Sequence[int], codebooks: int = 1, split: Split = "residual") -> None:
        super().__init__()
        self.levels, self.codebooks = tuple(levels), codebooks
        self.groups = codebooks if split == "group" else 1
        self.codes, self.width = math.prod(levels), self.groups * len(levels)
        self.quantised = codebooks * len(levels)

    def forward(self, rows: Float[Tensor, "rows width"]) -> Float[Tensor, "rows quantised"]:
        """Quantise."""
        levels = rows.new_tensor(self.levels)
        two = levels == 2  # which have no middle step: they part at 0
        half = torch.where(two, 1.0, (levels - 1) / 2) * (1 - _EPSILON)
        offset = (1 - levels % 2) / 2
        shift = torch.where(two, 0.0, torch.atanh(offset / half))
        bounded = torch.tanh(rows.unflatten(1, (self.groups, -1)) + shift) * half - offset
        steps = _straight_through(bounded, bounded.round())
        parts, rest = [steps / (levels // 2)], bounded - steps.detach()
        for _ in range(self.groups, self.codebooks):
            part = ((rest + 0.5) * levels).floor().clamp(min=torch.zeros_like(levels), max=levels - 1)
            middle = _straight_through(rest, (part + 0.5) / levels - 0.5)
            parts.append(2 * middle)
            rest = (rest - middle.detach()) * levels
        return torch.cat(parts, dim=1).flatten(1)

    def numbers(self, quantised: Float[Tensor, "rows quantised"]) -> Int[Tensor, "rows codebooks"]:
        """The codes of quantised rows."""
        levels, first = quantised.new_tensor(self.levels), self.groups
        parts = quantised.unflatten(1, (self.codebooks, -1))
        rounded = parts[:, :first] * (levels // 2) + levels // 2
        digits = torch.cat([rounded, (parts[:, first:] / 2 + 0.5) * levels - 0.5], dim=1).round().long()
        return (digits * digits.new_tensor(self._places())).sum(-1)

    def rows(self, codes: Int[Tensor, "rows codebooks"]) -> Float[Tensor, "rows quantised"]:
        """The quantised rows of codes: the inverse of ``numbers``."""
        levels, first = codes.new_tensor(self.levels), self.groups
        digits = codes[..., None] // codes.new_tensor(self._places()) % levels
        rounded = (digits[:, :first] - levels // 2) / (levels // 2)
        return torch.cat([rounded, 2 * ((digits[:, first:] + 0.5) / levels - 0.5)], dim=1).flatten(1)

    def _places(self) -> list[int]:
        """What a step of each number counts."""
        return [math.prod(self.levels[:place]) for place in range(len(self.levels))]


def _straight_through(value: Tensor, rounded: Tensor) -> Tensor:
    """The rounded value with the gradient of the value (Bengio et al. 2013)."""
    return value + (rounded - value).detach()
