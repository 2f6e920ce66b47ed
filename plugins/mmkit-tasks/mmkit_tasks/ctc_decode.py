"""Decoding of CTC scores."""

import math

from jaxtyping import Float
from torch import Tensor

from mmkit import Ragged


def greedy(log_probabilities: Ragged, blank: int) -> list[list[int]]:
    """The likeliest class of every row, repeats merged, blanks dropped (Graves et al. 2006, best path)."""
    best = log_probabilities.values.argmax(-1).cpu()
    found = []
    for item in best.split(log_probabilities.sizes):
        path = item.tolist()
        found.append([c for c, before in zip(path, [None, *path], strict=False) if c not in (before, blank)])
    return found


def prefix_beam(log_probabilities: Float[Tensor, "rows classes"], blank: int, width: int) -> list[int]:
    """Prefix beam search (Hannun et al. 2014, without a language model): the likeliest sequence, over all its paths.

    Keeps ``width`` prefixes a row and extends them by the ``2 * width`` likeliest classes. CPU.
    """
    # Per prefix: log-probability of its paths that end in a blank, and of those that end in its last id.
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}
    top = log_probabilities.topk(min(2 * width, log_probabilities.shape[1]), dim=-1)
    silent = log_probabilities[:, blank].tolist()
    for scores, classes, pause in zip(top.values.tolist(), top.indices.tolist(), silent, strict=True):
        following: dict[tuple[int, ...], tuple[float, float]] = {}
        likely = {number: score for number, score in zip(classes, scores, strict=True) if number != blank}
        for prefix, (ended, open_) in beams.items():
            both = _add(ended, open_)
            _grow(following, prefix, both + pause, -math.inf)
            for number, score in likely.items():
                if prefix and prefix[-1] == number:
                    _grow(following, prefix, -math.inf, open_ + score)
                    _grow(following, (*prefix, number), -math.inf, ended + score)
                else:
                    _grow(following, (*prefix, number), -math.inf, both + score)
        ranked = sorted(following.items(), key=lambda pair: -_add(*pair[1]))
        beams = dict(ranked[:width])
    return list(max(beams.items(), key=lambda pair: _add(*pair[1]))[0])


def _grow(
    beams: dict[tuple[int, ...], tuple[float, float]], prefix: tuple[int, ...], ended: float, open_: float
) -> None:
    before = beams.get(prefix, (-math.inf, -math.inf))
    beams[prefix] = (_add(before[0], ended), _add(before[1], open_))


def _add(a: float, b: float) -> float:
    """log(exp a + exp b)."""
    high, low = max(a, b), min(a, b)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
