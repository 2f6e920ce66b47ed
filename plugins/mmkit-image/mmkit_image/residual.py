"""The residual block that the tokenizer's encoder and decoder are made of."""

import math

from jaxtyping import Float
from torch import Tensor, nn

GROUPS = 8


def norm(channels: int) -> nn.GroupNorm:
    """Group normalisation: a picture's codes must not depend on the others of its batch."""
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels)


class Residual(nn.Module):
    """Two 3×3 convolutions, each after normalisation and SiLU, added to their input (He et al. 2016, pre-activation)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Float[Tensor, "items channels high wide"]) -> Float[Tensor, "items channels high wide"]:
        """The same shape."""
        return x + self.body(x)
