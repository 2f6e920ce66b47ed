"""Figures of a membership attack from one score a row, higher for rows it takes for members."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

FPR = 0.01
RESAMPLES = 1000

Scores = Float[ndarray, " n"]
Figure = Callable[[Scores, Scores], float]


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % bootstrap interval (percentiles, Efron 1979)."""

    value: float
    low: float
    high: float


def auc(members: Scores, others: Scores) -> float:
    """Probability that a random member scores higher than a random other row; ties count half. Guessing: 0.5."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, members, "left")
    upto = np.searchsorted(ordered, members, "right")
    return float((below + upto).mean() / 2 / len(others))


def best_accuracy(members: Scores, others: Scores) -> float:
    """Balanced accuracy at the threshold of the members' mean loss, which Yeom et al. (2018) let the attacker know."""
    threshold = members.mean()
    return float(((members >= threshold).mean() + (others < threshold).mean()) / 2)


def tpr_at_fpr(members: Scores, others: Scores, fpr: float = FPR) -> float:
    """Share of the members found while at most this share of the others is taken for members (Carlini et al. 2022)."""
    allowed = int(fpr * len(others))
    threshold = np.sort(others)[::-1][allowed]
    return float((members > threshold).mean())


def estimate(figure: Figure, members: Scores, others: Scores, seed: int = 0) -> Estimate:
    """A figure with its interval: both groups are drawn again with replacement."""
    draw = np.random.default_rng(seed)
    seen = [figure(draw.choice(members, len(members)), draw.choice(others, len(others))) for _ in range(RESAMPLES)]
    low, high = np.quantile(seen, [0.025, 0.975])
    return Estimate(figure(members, others), float(low), float(high))
