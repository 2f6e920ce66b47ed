"""Attention whose weights are kept, for one sample: what the kernels compute, written out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mmkit import Attended, PluginError


class Kept:
    """Takes what each attention read.

    Args:
        before: rows before the sample's own, which are nothing of it.
    """

    def __init__(self, before: int = 0) -> None:
        self.all: list[Attended] = []
        self.before = before

    def attend(
        self,
        query: Float[Tensor, "heads n head_dim"],
        key: Float[Tensor, "key_heads m head_dim"],
        value: Float[Tensor, "key_heads m value_dim"],
        seen: Bool[Tensor, "n m"] | None,
        scaling: float | None = None,
        queries: Int[Tensor, " n"] | None = None,
        keys: Int[Tensor, " m"] | None = None,
    ) -> Float[Tensor, "n heads value_dim"]:
        """Scaled dot-product attention (Vaswani et al. 2017, equation 1); grouped keys are repeated.

        Args:
            seen: which rows see which. queries, keys: as of ``Attended``; None: the rows in their order.
        """
        key, value = (part.repeat_interleave(query.shape[0] // part.shape[0], 0) for part in (key, value))
        scores = query @ key.mT * (query.shape[-1] ** -0.5 if scaling is None else scaling)
        if seen is not None:
            scores = scores.masked_fill(~seen, -torch.inf)
        weights = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(value.dtype)
        self.add(weights, queries, keys)
        return (weights @ value).transpose(0, 1)

    def add(
        self, weights: Float[Tensor, "*one heads n m"], queries: Tensor | None = None, keys: Tensor | None = None
    ) -> None:
        """Keep these."""
        rows, columns = weights.shape[-2:]
        queries = self._places(rows, weights.device) if queries is None else queries
        self.all.append(Attended(weights, queries, self._places(columns, weights.device) if keys is None else keys))

    def add_all(self, weights: Iterable[Tensor]) -> None:
        """Keep those of layers that read all of the sample."""
        for one in weights:
            self.add(one)

    def _places(self, rows: int, device: torch.device) -> Int[Tensor, " rows"]:
        return (torch.arange(rows, device=device) - self.before).clamp(min=-1)


_CURRENT: ContextVar[Kept | None] = ContextVar("mmkit_kept", default=None)
current = _CURRENT.get
"""Who watches; None outside of ``watching``, as in training and decoding."""


@contextmanager
def watching(backbone: nn.Module, kept: Kept) -> Iterator[None]:
    """Inside, the forward of this backbone, and of no other module, has its attention kept."""
    own: Any = backbone.forward

    def forward(*given: Any, **named: Any) -> Any:
        token = _CURRENT.set(kept)
        try:
            return own(*given, **named)
        finally:
            _CURRENT.reset(token)

    backbone.forward = forward
    try:
        yield
    finally:
        del backbone.__dict__["forward"]


@contextmanager
def eager(trunk: Any, take: Callable[..., None], fields: Sequence[str] = ("attentions",)) -> Iterator[None]:
    """Inside, a model of transformers attends by its own code that has weights.

    Args:
        take: receives the weights of all layers after a pass, a tuple for each of ``fields`` of its output.

    Raises:
        PluginError: it has none.
    """
    was, own, who = trunk.config._attn_implementation, trunk.forward, type(trunk).__name__
    try:
        trunk.set_attn_implementation("eager")
    except Exception as error:
        raise PluginError(f"the attention of {who} cannot be seen: it has no eager form: {error}") from error

    def forward(*given: Any, **named: Any) -> Any:
        found = own(*given, **named, output_attentions=True)
        weights = [getattr(found, field, None) or () for field in fields]
        if not all(weights) or any(one is None for layers in weights for one in layers):
            raise PluginError(f"the attention of {who} cannot be seen: it gives no attention weights of its layers")
        take(*weights)
        return found

    trunk.forward = forward
    try:
        yield
    finally:
        del trunk.__dict__["forward"]
        trunk.set_attn_implementation(was)
