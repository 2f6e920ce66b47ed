"""How many feature rows a wave becomes: known before the forward, on the CPU."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class Lengths:
    """Samples → feature rows.

    Attributes:
        chunk: longer waves are cut into pieces of this many samples, encoded apart (0: never).
        hop: samples a frame; the remainder is dropped, and a piece has at least one frame.
        stride: frames a row, rounded up.
        convolutions: (kernel, stride) of convolutions without padding, applied to the frames before ``stride``.
        pooled: one row whatever the length.
        filled: a piece counts as if it were filled up to ``chunk``.
    """

    hop: int = 1
    stride: int = 1
    chunk: int = 0
    convolutions: tuple[tuple[int, int], ...] = ()
    pooled: bool = False
    filled: bool = False

    def __call__(self, samples: int) -> int:
        """Rows of a wave."""
        if self.pooled:
            return 1
        whole, rest = divmod(samples, self.chunk) if self.chunk else (0, samples)
        return whole * self._piece(self.chunk) + (self._piece(self.chunk if self.filled else rest) if rest else 0)

    def _piece(self, samples: int) -> int:
        rows = max(1, samples // self.hop)
        for kernel, stride in self.convolutions:
            rows = (rows - kernel) // stride + 1
        return max(1, -(-rows // self.stride))

    def padded(self, samples: Int[Tensor, " items"]) -> Int[Tensor, " items"]:
        """As ``__call__``, of waves of one piece in an exported graph."""
        if self.pooled:
            return torch.ones_like(samples)
        rows = (torch.full_like(samples, self.chunk) if self.filled else samples) // self.hop
        rows = rows.clamp(min=1)
        for kernel, stride in self.convolutions:
            rows = (rows - kernel) // stride + 1
        return ((rows + self.stride - 1) // self.stride).clamp(min=1)

    @property
    def least(self) -> int:
        """Samples that give one frame, and one row after the convolutions."""
        need = 1
        for kernel, stride in reversed(self.convolutions):
            need = (need - 1) * stride + kernel
        return need * self.hop
