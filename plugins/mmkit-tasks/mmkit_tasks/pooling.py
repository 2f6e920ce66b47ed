"""The rows of each item → one row."""

from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor

from mmkit import Ragged


def pool_items(features: Ragged, how: str) -> Float[Tensor, "items dim"]:
    """Pool each item's rows by ``mean``, ``max``, ``first`` or ``last``; an empty item gives zeros.

    The mean is taken in float32, whatever the type of the features.
    """
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
    segments = features.segments()
    scores = scores.float()
    highest = scores.new_zeros(len(features)).scatter_reduce(0, segments, scores.detach(), "amax", include_self=False)
    weights = (scores - highest[segments]).exp()
    totals = weights.new_zeros(len(features)).index_add(0, segments, weights)
    weights = weights / totals[segments]
    out = weights.new_zeros(len(features), features.values.shape[1])
    return out.index_add(0, segments, weights[:, None] * features.values.float()).to(features.values.dtype)
