"""Tensors of any number of axes as a map of two."""

from torch import Tensor


def flat(values: Tensor, mean: bool = False) -> Tensor:
    """Float["high wide"]: axes before the last two are summed (or averaged); one axis becomes a single line; the longer of
    two axes lies across, as time does."""
    if values.dim() == 0:
        return values[None, None]
    if values.dim() == 1:
        return values[None]
    if values.dim() > 2:
        axes = tuple(range(values.dim() - 2))
        return values.mean(axes) if mean else values.sum(axes)
    return values.T if values.shape[0] > values.shape[1] else values
