"""Documents laid end to end, and what each of their rows may attend to."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from mmkit_text.slot_cache import SlotCache

KERNELS = ("varlen", "flex", "documents")


@dataclass(frozen=True)
class Documents:
    """Rows that attend within their own document.

    Attributes:
        sizes: rows of each document. bounds: where each starts, and the total, on the device of the rows.
        kernels: names of kernels, the first that can is taken.
        causal: whether a row sees no later one; the last row of a document always sees all of its keys.
        window: how many rows back a causal row sees, itself included; None: all.
        mask: any other pattern, by places within a document; ``rule`` is the same as transformers' mask function.
        keys: the documents whose rows are seen, where those are not the same.
        cache: takes each layer's keys and values, for the decoding that follows.
    """

    sizes: tuple[int, ...]
    bounds: Int[Tensor, " boundaries"]
    kernels: tuple[str, ...] = KERNELS
    causal: bool = True
    window: int | None = None
    mask: Bool[Tensor, "1 1 longest longest"] | None = None
    rule: Any = None
    keys: "Documents | None" = None
    cache: SlotCache | None = None

    @classmethod
    def of(cls, sizes: Sequence[int], device: torch.device, **options: Any) -> "Documents":
        """From the lengths; all arithmetic is on the CPU."""
        bounds = torch.tensor([0, *sizes], dtype=torch.int32).cumsum(0, dtype=torch.int32)
        return cls(tuple(sizes), bounds.to(device, non_blocking=True), **options)

    @property
    def seen(self) -> "Documents":
        """The documents whose rows are seen."""
        return self.keys or self

    @property
    def longest(self) -> int:
        """Rows of the longest document."""
        return max(self.sizes, default=0)

    def pattern(self, rows: int, keys: int) -> tuple[Bool[Tensor, "#1 #1 rows keys"] | None, bool]:
        """Mask of a document of this size, and whether it is plainly causal and needs none."""
        if self.mask is None and not self.causal:
            return None, False
        if self.mask is None and (self.window is None or keys <= self.window) and (rows == keys or rows == 1):
            return None, rows > 1
        return self._dense[:, :, keys - rows : keys, :keys], False

    @cached_property
    def _dense(self) -> Bool[Tensor, "1 1 longest longest"]:
        """Made once for all layers; a place always sees itself, so that no row is empty."""
        place = torch.arange(self.seen.longest, device=self.bounds.device)
        back = place[:, None] - place[None]
        if self.mask is not None:
            return self.mask | (back == 0)
        seen = back >= 0 if self.window is None else (back >= 0) & (back < self.window)
        return seen[None, None]

    @cached_property
    def blocks(self) -> Any:
        """Which blocks of keys each block of queries sees, for FlexAttention; made once for all layers."""
        from torch.nn.attention.flex_attention import create_block_mask

        device, total = self.bounds.device, sum(self.sizes)
        owner = torch.repeat_interleave(torch.arange(len(self.sizes)), torch.tensor(self.sizes)).to(device)
        place = torch.cat([torch.arange(size) for size in self.sizes]).to(device)

        # lambdas: FlexAttention counts the arguments
        rule: Any = self.rule or (lambda item, head, row, key: (row >= key) & (row - key < (self.window or total)))
        return create_block_mask(
            lambda item, head, row, key: (
                (owner[row] == owner[key]) & (rule(item, head, place[row], place[key]) | (row == key))
            ),
            *(None, None, total, total),
            device=device,
        )
