"""What a backbone may let one see of its attention."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Attended:
    """What one attention read in one pass over one sample.

    Attributes:
        weights: of every head, each row adding up to one; one sample may have an axis. They are the very tensor that the values were multiplied by, so that
            the score has a gradient with respect to them.
        queries, keys: what each row and each column is of: the prompt's tokens are 0 … n-1, the target's n … n+m-1; -1 is
            nothing of the sample, such as ids that a backbone puts before every prompt.
    """

    weights: Float[Tensor, "*one heads queries keys"]
    queries: Int[Tensor, " queries"]
    keys: Int[Tensor, " keys"]


@runtime_checkable
class Attentive(Protocol):
    """A backbone whose attention can be looked at (``mmkit explain --attention``)."""

    def watched(self) -> AbstractContextManager[list[Attended]]:
        """Inside, ``forward`` reads one sample at a time, gives what it always gives, and adds to the list what each
        attention read, in the order in which they come. Outside nothing is kept.

        Raises:
            PluginError: these weights have no attention that can be seen, and why.
        """
