"""Integrated gradients over all inputs at once, and Shapley values of whole columns."""

from collections.abc import Callable, Sequence
from itertools import combinations
from math import factorial

import torch
from torch import Tensor

from mmkit.errors import MmkitError

AT_ONCE = 8
"""Copies of the sample in one pass."""
MOST_COLUMNS = 10
"""Shapley values of more columns are not computed: there are 2^columns passes."""


def integrated_gradients(
    score: Callable[[Sequence[Tensor]], Tensor], values: Sequence[Tensor], baselines: Sequence[Tensor], steps: int
) -> list[Tensor]:
    """What each element adds to the score on the way from the baselines to the values (Sundararajan et al. 2017, by Captum).

    Args:
        score: tensors, Float["copies rows …"] → Float["copies"].

    Raises:
        MmkitError: Captum is not installed.
    """
    try:
        from captum.attr import IntegratedGradients
    except ImportError:
        raise MmkitError("mmkit explain needs Captum, which is not installed: pip install 'mmkit[explain]'") from None

    def forward(*given: Tensor) -> Tensor:
        # an input that this score does not depend on has the gradient 0, not none
        return score(given) + sum((one.flatten(1).sum(1) * 0 for one in given), torch.zeros((), device=given[0].device))

    with torch.backends.cudnn.flags(enabled=False):  # its recurrent layers have no gradient in evaluation mode
        found = IntegratedGradients(forward).attribute(
            tuple(value[None] for value in values),
            baselines=tuple(baseline[None] for baseline in baselines),
            n_steps=steps,
            internal_batch_size=AT_ONCE,
        )
    return [one[0].detach().float().cpu() for one in found]


def shapley(worth: Callable[[Sequence[frozenset[int]]], Sequence[float]], columns: int) -> list[float]:
    """Exact Shapley values (Lundberg & Lee 2017): what each column adds, averaged over all orders of adding them.

    Args:
        worth: sets of columns that are there → the score of each.
    """
    sets = [frozenset(chosen) for size in range(columns + 1) for chosen in combinations(range(columns), size)]
    value = dict(zip(sets, worth(sets), strict=True))
    found = []
    for column in range(columns):
        total = 0.0
        for others in (chosen for chosen in sets if column not in chosen):
            share = factorial(len(others)) * factorial(columns - len(others) - 1) / factorial(columns)
            total += share * (value[others | {column}] - value[others])
        found.append(total)
    return found
