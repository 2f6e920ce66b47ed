"""The rows of each item → one row."""

from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor

from mmkit import Padded, Ragged


def pool_items(features: Ragged, how: str) -> Float[Tensor, "items dim"]:
    """Pool each item's rows by ``mean``, ``max``, ``first`` or ``last``; an empty item gives zeros.

    The mean is taken in float32, whatever the type of the features.
    """
    if isinstance(features, Padded):
        return _pool_padded(features, how)
    items, dim = len(features), features.values.shape[1]
    values = features.values
    if how == "mean":
        sums = values.new_zeros(items, dim, dtype=torch.float32).index_add(0, features.segments(), values.float())
        return (sums / features.lengths.clamp(min=1).to(features.device)[:, None]).to(values.dtype)
    out = values.new_zeros(items, dim)
    if how == "max":
        index = features.segments()[:, None].expand(-1, dim)
        return out.scatter_reduce(0, index, values, "amax", include_self=False)
    ends = [0, *accumulate(features.sizes)]
    filled = [item for item, size in enumerate(features.sizes) if size]
    rows = torch.tensor([ends[item + 1] - 1 if how == "last" else ends[item] for item in filled], dtype=torch.int64)
    return out.index_copy(0, torch.tensor(filled, dtype=torch.int64).to(out.device), values[rows.to(out.device)])


def attend_items(features: Ragged, scores: Float[Tensor, " total"]) -> Float[Tensor, "items dim"]:
    """Sum of each item's rows weighted by the softmax of their scores over the item; empty items give zeros."""
    if isinstance(features, Padded):
        return _attend_padded(features, scores)
    segments = features.segments()
    scores = scores.float()
    highest = scores.new_zeros(len(features)).scatter_reduce(0, segments, scores.detach(), "amax", include_self=False)
    weights = (scores - highest[segments]).exp()
    totals = weights.new_zeros(len(features)).index_add(0, segments, weights)
    weights = weights / totals[segments]
    out = weights.new_zeros(len(features), features.values.shape[1])
    return out.index_add(0, segments, weights[:, None] * features.values.float()).to(features.values.dtype)


def _pool_padded(features: Padded, how: str) -> Float[Tensor, "items dim"]:
    """As ``pool_items`` in an exported graph."""
    mask, rows = features.mask[..., None], features.values
    counts = features.lengths[:, None]
    if how == "mean":
        sums = rows.float().sum(1) if features.full else torch.where(mask, rows.float(), 0.0).sum(1)
        return (sums / counts.clamp(min=1)).to(rows.dtype)
    if how == "max":
        pooled = rows.amax(1) if features.full else torch.where(mask, rows, float("-inf")).amax(1)
    elif how == "first":
        pooled = rows[:, 0]
    else:
        place = (counts - 1).clamp(min=0)
        pooled = rows.gather(1, place[..., None].expand(-1, -1, rows.shape[2]))[:, 0]
    return pooled if features.full else torch.where(counts > 0, pooled, 0.0)


def _attend_padded(features: Padded, scores: Float[Tensor, " total"]) -> Float[Tensor, "items dim"]:
    """As ``attend_items`` in an exported graph."""
    mask = features.mask
    scores = torch.where(mask, scores.float(), -1e30)
    weights = torch.where(mask, (scores - scores.amax(1, keepdim=True)).exp(), 0.0)
    weights = weights / weights.sum(1, keepdim=True).clamp(min=1e-30)
    rows = torch.where(mask[..., None], features.values.float(), 0.0)
    return (weights[:, None] @ rows)[:, 0].to(features.values.dtype)
