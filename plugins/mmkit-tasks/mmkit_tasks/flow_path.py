"""The straight path from noise to data, its velocity, and the way along it (Lipman et al. 2023; Liu et al. 2023)."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Velocity: TypeAlias = Callable[[Float[Tensor, "items *shape"], Float[Tensor, " items"]], Float[Tensor, "items *shape"]]
"""Where values are, and the times 0 (noise) … 1 (data) → where they move to, and how fast."""


def on_path(
    data: Float[Tensor, "items *shape"], noise: Float[Tensor, "items *shape"], times: Float[Tensor, " items"]
) -> tuple[Float[Tensor, "items *shape"], Float[Tensor, "items *shape"]]:
    """The point ``(1 - t) noise + t data``, and the velocity there, ``data - noise`` (Liu et al. 2023, equation 1)."""
    t = times.view(-1, *[1] * (data.dim() - 1))
    return (1 - t) * noise + t * data, data - noise


def drawn_times(items: int, how: Literal["uniform", "logit-normal"], like: Tensor) -> Float[Tensor, " items"]:
    """Times from the global generator; ``logit-normal``: the sigmoid of a normal number (Esser et al. 2024, section 3.1)."""
    if how == "uniform":
        return torch.rand(items, device=like.device)
    return torch.randn(items, device=like.device).sigmoid()


def guided(
    asked: Float[Tensor, "items *shape"], unasked: Float[Tensor, "items *shape"], guidance: float
) -> Float[Tensor, "items *shape"]:
    """Classifier-free guidance (Ho and Salimans 2022, equation 6, with guidance = 1 + w): away from the answer to nothing."""
    return unasked + guidance * (asked - unasked)


def integrate(
    velocity: Velocity,
    noise: Float[Tensor, "items *shape"],
    steps: int,
    solver: Literal["euler", "midpoint", "heun"],
) -> Float[Tensor, "items *shape"]:
    """Follow the velocity from time 0 to 1 in equal steps; Euler's error falls with the steps, that of the others with
    their square."""
    x, h = noise, 1 / steps
    for step in range(steps):
        t = x.new_full((x.shape[0],), step * h)
        first = velocity(x, t)
        if solver == "euler":
            x = x + h * first
        elif solver == "midpoint":
            x = x + h * velocity(x + h / 2 * first, t + h / 2)
        else:
            x = x + h / 2 * (first + velocity(x + h * first, t + h))
    return x
