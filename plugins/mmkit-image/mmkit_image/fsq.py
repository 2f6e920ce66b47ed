"""Finite scalar quantisation (Mentzer et al. 2023, "Finite Scalar Quantization: VQ-VAE Made Simple")."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

_MARGIN = 1e-3
"""What keeps numbers inside the outermost levels, as in the paper's code (its appendix)."""


class Fsq:
    """Each of a few numbers is rounded to one of its levels; their combinations are the codes, and no table is learnt.

    Quantised numbers lie in -1 … 1, spaced by ``1 / (levels // 2)``. A code's number counts the levels of the first place
    fastest. The paper's code shifts an even number of levels by a tangent; here it is the inverse hyperbolic one, which lays
    zero into the middle of a level.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        self.levels = tuple(levels)
        self.codes = math.prod(self.levels)
        self._half = [(level - 1) * (1 - _MARGIN) / 2 for level in self.levels]
        self._offset = [0.0 if level % 2 else 0.5 for level in self.levels]
        self._shift = [math.atanh(offset / half) for offset, half in zip(self._offset, self._half, strict=True)]
        self._steps = [level // 2 for level in self.levels]
        self._places = [math.prod(self.levels[:place]) for place in range(len(self.levels))]

    def __call__(self, z: Float[Tensor, "*rows levels"]) -> Float[Tensor, "*rows levels"]:
        """Bounded, rounded, scaled to -1 … 1; the gradient passes the rounding as if it were not there (straight
        through). Computed in float32 at least, so that a code does not depend on the model's type."""
        x = z.float() if z.dtype in (torch.bfloat16, torch.float16) else z
        half, offset, shift = (x.new_tensor(values) for values in (self._half, self._offset, self._shift))
        bounded = torch.tanh(x + shift) * half - offset
        rounded = bounded + (bounded.round() - bounded).detach()
        return rounded / x.new_tensor(self._steps)

    def numbers(self, quantised: Float[Tensor, "*rows levels"]) -> Int[Tensor, "*rows"]:
        """The numbers of codes, 0 … codes-1."""
        steps = quantised.new_tensor(self._steps)
        places = torch.tensor(self._places, device=quantised.device)
        return ((quantised * steps + steps).round().long() * places).sum(-1)

    def values(self, numbers: Int[Tensor, "*rows"]) -> Float[Tensor, "*rows levels"]:
        """Quantised numbers of codes."""
        places, levels, steps = (
            torch.tensor(values, device=numbers.device) for values in (self._places, self.levels, self._steps)
        )
        return (numbers[..., None] // places % levels - steps) / steps
