"""What of a sample reached a row of a transformer, from the attention of its layers. All places are of one sample:
prompt, target, and a last one for whatever is not of it."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mmkit.interfaces import Attended


def places(layers: Sequence[Attended]) -> int:
    """Places of the sample, and one more."""
    return 2 + max(int(torch.cat([layer.queries, layer.keys]).max()) for layer in layers)


def rollout(layers: Sequence[Attended], size: int) -> Float[Tensor, "size size"]:
    """Attention rollout (Abnar & Zuidema 2020, section 3): half of a row is what its attention read, mean of all heads, and
    half what it was, layer upon layer. Rows add up to one."""
    found = torch.eye(size, dtype=torch.float64)
    for layer in layers:
        step = torch.eye(size, dtype=torch.float64)
        read = _laid(layer.weights.detach().double().cpu().flatten(0, -3).mean(0), layer, size)
        step[_rows(layer)] = (0.5 * step + 0.5 * read)[_rows(layer)]
        found = step @ found
    return found


def relevance(layers: Sequence[Attended], gradients: Sequence[Tensor], size: int) -> Float[Tensor, "size size"]:
    """Attention × gradient (Chefer, Gur & Wolf 2021, equations 5 and 6: Ā = mean over heads of (∇A ⊙ A)⁺, R ← R + Ā·R),
    less what a row is to itself. Cross-attention is a layer like others, from the target's places to the prompt's, where the
    paper has equation 10.

    Args:
        gradients: of the score, with respect to the weights of every layer.
    """
    one = torch.eye(size, dtype=torch.float64)
    found = one.clone()
    for layer, gradient in zip(layers, gradients, strict=True):
        read = (gradient * layer.weights).detach().double().cpu().clamp(min=0).flatten(0, -3).mean(0)
        step = torch.zeros_like(one)
        step[_rows(layer)] = _laid(read, layer, size)[_rows(layer)]
        found = found + step @ found
    return found - one


def _rows(layer: Attended) -> Tensor:
    queries = layer.queries.cpu()
    return queries[queries >= 0]


def _laid(weights: Float[Tensor, "queries keys"], layer: Attended, size: int) -> Float[Tensor, "size size"]:
    """By place; -1 is the last."""
    full = weights.new_zeros(size, size)
    queries, keys = layer.queries.cpu(), layer.keys.cpu()
    return full.index_put_((queries[:, None], keys[None]), weights, accumulate=True)
