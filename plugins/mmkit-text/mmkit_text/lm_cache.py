"""Key-value caches of transformers between decoding steps."""

import copy
from typing import Any, cast

from jaxtyping import Int
from torch import LongTensor, Tensor
from transformers import Cache, EncoderDecoderCache


def select(cache: Any, items: Int[Tensor, " beams"]) -> Any:
    """A new cache with these items; the old one stays as it was."""
    if isinstance(cache, EncoderDecoderCache):
        both = copy.copy(cache)
        both.self_attention_cache = select(cache.self_attention_cache, items)
        both.cross_attention_cache = select(cache.cross_attention_cache, items)
        both.is_updated = dict(cache.is_updated)
        return both
    chosen: Cache = copy.copy(cache)
    chosen.layers = [_copied(layer) for layer in cache.layers]
    chosen.reorder_cache(cast(LongTensor, items))
    return chosen


def _copied(layer: Any) -> Any:
    """The layer with containers of its own; tensors are shared until they are replaced."""
    new = copy.copy(layer)
    for name, value in vars(layer).items():
        if isinstance(value, (list, dict)):
            setattr(new, name, copy.copy(value))
    return new
