"""Which of the waiting samples form the next batch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

LongSamples = Literal["raise", "drop", "truncate", "split"]


class Batching(Protocol):
    """How a stage forms batches: ``mmkit.spec.schema.Stage`` is one."""

    @property
    def batch_size(self) -> int | None:
        """Samples a batch, or None."""

    @property
    def tokens_per_batch(self) -> int | None:
        """Tokens a batch at most, or None."""

    @property
    def lookahead(self) -> int:
        """Further samples that may fill the gap which the next ones leave."""

    @property
    def long_samples(self) -> LongSamples:
        """What happens to a sample of more tokens than a batch may have."""


@dataclass(frozen=True)
class Fixed:
    """So many samples a batch."""

    batch_size: int
    tokens_per_batch: None = None
    lookahead: int = 0
    long_samples: LongSamples = "raise"


def fitting(tokens: Iterable[int], budget: int) -> int | None:
    """How many of the oldest samples fit together, at least 1; None where more samples would have to be known."""
    used = 0
    for place, cost in enumerate(tokens):
        used += cost
        if used >= budget:
            return max(1, place + (used == budget))
    return None


def choose(tokens: Sequence[int], budget: int, lookahead: int) -> list[int]:
    """Places of the samples of the next batch, in order.

    The oldest samples as long as they fit; then what is left of the budget is filled by first-fit decreasing (Johnson
    1973) from the ``lookahead`` samples after them. So the order of the draws is kept but for the samples that fill a
    gap, and the oldest one is always in the next batch. Depends on nothing but the samples that still wait: a resumed
    run chooses as the uninterrupted one.
    """
    taken = fitting(tokens, budget)
    if taken is None:
        return list(range(len(tokens)))
    chosen, left = list(range(taken)), budget - sum(tokens[:taken])
    window = range(taken, min(len(tokens), taken + lookahead))
    for place in sorted(window, key=lambda place: (-tokens[place], place)):
        if tokens[place] <= left:
            chosen.append(place)
            left -= tokens[place]
    return sorted(chosen)
