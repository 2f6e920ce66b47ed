"""Cross-entropy of hidden states against ids, in memory that does not grow with the vocabulary.

Scores exist for some rows at a time. Where they are linear in the hidden states, the gradients of a chunk are computed
while its scores are there (Hsu et al. 2024, Liger Kernel), so nothing is computed twice; in single and
double precision torch's own ``linear_cross_entropy`` does it. Any other scores are computed again in the backward pass
(Chen et al. 2016).
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

_SCORES = {"cpu": 2**24}  # scores that exist at one time
_SCORES_ELSEWHERE = 2**26
_TILE = 8192  # rows of the table that are cast to a lower precision at one time


def rows_at_once(size: int, device: torch.device) -> int:
    """How many rows are scored at one time over a vocabulary of this size."""
    return max(1, _SCORES.get(device.type, _SCORES_ELSEWHERE) // max(1, size))


def linear_cross_entropy(
    hidden: Float[Tensor, "n hidden_dim"],
    weight: Float[Tensor, "size hidden_dim"],
    bias: Float[Tensor, " size"] | None,
    targets: Int[Tensor, " n"],
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Summed cross-entropy of ``hidden @ weight.T + bias``; in float32 or wider, whatever the scores are in.

    Under autocast the products are in its type and everything else in float32. The backward pass works once.
    """
    device = hidden.device.type
    able = torch.amp.is_autocast_available(device)
    cast = able and torch.is_autocast_enabled(device) and weight.dtype != torch.float64
    kind = torch.get_autocast_dtype(device) if cast else weight.dtype
    with torch.autocast(device, enabled=False) if able else nullcontext():
        if label_smoothing == 0 and kind in (torch.float32, torch.float64) and hasattr(nn, "LinearCrossEntropyOptions"):
            rows = rows_at_once(weight.shape[0], hidden.device)
            options = nn.LinearCrossEntropyOptions(batch_chunk_size=max(1, min(rows, len(hidden))))
            return functional.linear_cross_entropy(
                hidden.to(kind), weight, targets, linear_bias=bias, reduction="sum", options=options
            )
        learn = torch.is_grad_enabled()
        total: Tensor = _Chunks.apply(hidden, weight, bias, targets, label_smoothing, kind, learn)
        return total


def scored_cross_entropy(
    score: Callable[[Tensor], Tensor],
    hidden: Float[Tensor, "n hidden_dim"],
    targets: Int[Tensor, " n"],
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Summed cross-entropy of ``score(hidden)``, Float["n size"]; scores of a row depend on that row alone."""

    def part(states: Tensor, ids: Tensor) -> Tensor:
        return functional.cross_entropy(score(states).float(), ids, reduction="sum", label_smoothing=label_smoothing)

    with torch.no_grad():
        size = score(hidden[:1]).shape[-1] if len(hidden) else 1
    rows = rows_at_once(size, hidden.device)
    if len(hidden) <= rows:
        return part(hidden, targets)
    chunks = zip(hidden.split(rows), targets.split(rows), strict=True)
    if not torch.is_grad_enabled():
        return torch.stack([part(*chunk) for chunk in chunks]).sum()
    return torch.stack([checkpoint(part, *chunk, use_reentrant=False) for chunk in chunks]).sum()


class _Chunks(torch.autograd.Function):
    """Loss and gradients of ``linear_cross_entropy``, chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        smoothing: float,
        kind: torch.dtype,
        learn: bool,
    ) -> Tensor:
        """The loss; gradients for an incoming gradient of one are kept."""
        wanted = [learn and needed for needed in ctx.needs_input_grad[:3]]
        given = (hidden, weight, bias)
        grads = [
            torch.zeros_like(value) if value is not None and need else None
            for value, need in zip(given, wanted, strict=True)
        ]
        wide = torch.promote_types(kind, torch.float32)
        total = torch.zeros((), dtype=wide, device=hidden.device)
        rows = rows_at_once(weight.shape[0], hidden.device)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            states = hidden[part].to(kind)
            scores = _scores(states, weight, bias, wide)
            total += _loss(scores, targets[part], smoothing, any(wanted))
            if any(wanted):
                _add_gradients(scores, states, weight, grads, part)
            del scores
        ctx.grads = grads
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor | None, ...]:
        """The kept gradients, scaled in place."""
        grads, ctx.grads = ctx.grads, None
        if grads is None:
            raise RuntimeError("the cross-entropy's gradients were used up by an earlier backward pass")
        return (*(None if grad is None else grad.mul_(incoming) for grad in grads), None, None, None, None)


def _tiles(weight: Tensor, kind: torch.dtype) -> Sequence[Tensor]:
    """The table, in pieces where it has to be cast."""
    return [weight] if weight.dtype == kind else weight.split(_TILE)


def _scores(states: Tensor, weight: Tensor, bias: Tensor | None, wide: torch.dtype) -> Tensor:
    scores = torch.empty(len(states), len(weight), dtype=wide, device=states.device)
    columns = 0
    for tile in _tiles(weight, states.dtype):
        place = scores[:, columns : columns + len(tile)]
        if states.dtype == wide:
            torch.mm(states, tile.t(), out=place)
        else:
            place.copy_(states @ tile.to(states.dtype).t())
        columns += len(tile)
    return scores if bias is None else scores.add_(bias)


def _loss(scores: Tensor, targets: Tensor, smoothing: float, learn: bool) -> Tensor:
    """The summed loss; with ``learn``, ``scores`` become its derivative by the scores."""
    scores.sub_(scores.amax(1, keepdim=True))
    hit = scores.gather(1, targets[:, None])
    spread = scores.mean(1, keepdim=True) if smoothing else 0.0
    norm = scores.exp_().sum(1, keepdim=True)
    total = (norm.log() - (1 - smoothing) * hit - smoothing * spread).sum()
    if learn:
        scores.div_(norm)
        if smoothing:
            scores.sub_(smoothing / scores.shape[1])
        scores.scatter_add_(1, targets[:, None], torch.full_like(hit, smoothing - 1))
    return total


def _add_gradients(slopes: Tensor, states: Tensor, weight: Tensor, grads: Sequence[Tensor | None], part: slice) -> None:
    """Add what a chunk gives to the gradients of states, table and bias."""
    of_states, of_weight, of_bias = grads
    if of_bias is not None:
        of_bias += slopes.sum(0)
    columns, found = 0, torch.zeros(states.shape, dtype=slopes.dtype, device=states.device)
    for tile in _tiles(weight, states.dtype):
        place = slice(columns, columns + len(tile))
        slope = slopes[:, place].to(states.dtype)
        if of_states is not None:
            found += slope @ tile.to(states.dtype)
        if of_weight is not None and of_weight.dtype == states.dtype:
            of_weight[place].addmm_(slope.t(), states)
        elif of_weight is not None:
            of_weight[place] += slope.t() @ states
        columns += len(tile)
    if of_states is not None:
        of_states[part] = found
