"""What a causal language model remembers between decoding steps."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from mmkit import DecodingState, Ragged
from mmkit_text.lean_step import LeanStep
from mmkit_text.lm_cache import select
from mmkit_text.slot_cache import SlotCache


class SlotState(DecodingState):
    """Keys and values in places allocated ahead, the next position of every item, and how a lean model steps.

    Args:
        unread: prompts that the first step reads together with its tokens, in one pass over the weights instead of two;
            ``read`` reads them alone where items are reordered before.
        instead: what the first step reads in place of its tokens.
    """

    def __init__(
        self,
        cache: SlotCache,
        positions: Int[Tensor, " items"],
        furthest: int,
        lean: LeanStep | None = None,
        unread: Ragged | None = None,
        read: Callable[[Ragged, SlotCache], Any] | None = None,
        instead: Tensor | None = None,
    ) -> None:
        self.cache, self.positions, self.furthest, self.lean = cache, positions, furthest, lean
        self.unread, self.read, self.instead = unread, read, instead

    def reorder(self, items: Int[Tensor, " beams"]) -> "SlotState":
        """Select items."""
        if self.unread is not None and self.read is not None and self.unread.values.shape[0]:
            self.read(self.unread, self.cache)
        self.unread = None
        cache = self.cache.select(items.tolist(), items.device)
        positions = self.positions.index_select(0, items)
        return SlotState(cache, positions, self.furthest, self.lean, instead=selected(self.instead, items))


class PaddedState(DecodingState):
    """A cache of transformers, which of its places are real (padding is on the left), and every item's next position."""

    def __init__(
        self,
        cache: Any,
        real: Bool[Tensor, "items n"],
        positions: Int[Tensor, " items"],
        furthest: int,
        instead: Tensor | None = None,
    ) -> None:
        self.cache, self.real, self.positions, self.furthest = cache, real, positions, furthest
        self.instead = instead

    def reorder(self, items: Int[Tensor, " beams"]) -> "PaddedState":
        """Select items."""
        real, positions = self.real.index_select(0, items), self.positions.index_select(0, items)
        instead = selected(self.instead, items)
        return PaddedState(select(self.cache, items), real, positions, self.furthest, instead)


def selected(rows: Tensor | None, items: Tensor) -> Tensor | None:
    """The rows of these items, where there are any."""
    return None if rows is None else rows.index_select(0, items)


def agree(got: Tensor, expected: Tensor) -> bool:
    """Whether two ways to the same states differ by rounding only."""
    close = 1e-3 if got.dtype in (torch.float32, torch.float64) else 5e-2
    return bool((got - expected).abs().max() <= close * expected.abs().max())
