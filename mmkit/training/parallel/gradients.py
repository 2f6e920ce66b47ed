"""Norm and clipping of gradients of which each rank may hold a part."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


def local(tensor: Tensor) -> Tensor:
    """This rank's part of it: the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def total_norm(weights: Sequence[nn.Parameter]) -> Tensor:
    """Norm of all gradients, the same on every rank. Float[""]."""
    given = [weight.grad for weight in weights if weight.grad is not None]
    shards = [gradient.to_local() for gradient in given if isinstance(gradient, DTensor)]
    if not any(isinstance(weight, DTensor) for weight in weights):
        return nn.utils.get_total_norm(given)
    whole = [gradient for gradient in given if not isinstance(gradient, DTensor)]
    squares = nn.utils.get_total_norm(shards).to(local(weights[0]).device) ** 2
    dist.all_reduce(squares)
    return (squares + nn.utils.get_total_norm(whole).to(squares.device) ** 2).sqrt()


@torch.no_grad()
def clip(weights: Sequence[nn.Parameter], limit: float, norm: Tensor) -> None:
    """Scale gradients whose norm is above the limit, as ``nn.utils.clip_grads_with_norm_`` does."""
    if not any(isinstance(weight, DTensor) for weight in weights):
        nn.utils.clip_grads_with_norm_(weights, limit, norm)
        return
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for weight in weights:
        if weight.grad is not None:
            local(weight.grad).mul_(factor)
