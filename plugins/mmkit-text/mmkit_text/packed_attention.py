"""Attention over documents laid end to end, for any transformers model that takes custom attention functions.

The documents travel as the "attention mask" of the model: ``AttentionMaskInterface`` makes them once a forward pass,
and every layer hands them to the attention function, also when gradient checkpointing runs the layer again. The cache
of a decoding loop travels the same way. Without either, both functions are transformers' own ``sdpa``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import causal_mask_function, sdpa_mask

from mmkit import PluginError
from mmkit_text import kept, packed_kernels
from mmkit_text.documents import Documents
from mmkit_text.slot_cache import SlotCache

NAME = "mmkit_packed"
_attend: Any = torch.compiler.disable(packed_kernels.attend)  # transformers has imported the compiler


@dataclass(frozen=True)
class Step:
    """One new row of every item in a cache; ``window`` is how many rows it sees, itself included."""

    cache: SlotCache
    window: int | None = None


_CURRENT: ContextVar[Documents | Step | None] = ContextVar("mmkit_packed", default=None)
_FIX = "; fix: set attention: sdpa or attention: eager in the backbone's settings"


@contextmanager
def packed(what: Documents | Step) -> Iterator[None]:
    """Inside, a model with this attention reads one packed sequence of documents, or the next row of cached items."""
    token = _CURRENT.set(what)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def mask(**options: Any) -> Any:
    """``AttentionMaskInterface`` function: what is read, with what the model wants beside causal order (sliding windows
    and the like), or transformers' mask where nothing is packed."""
    current, local = _CURRENT.get(), options.get("local_size")
    if current is None:
        return sdpa_mask(**options)
    rule = options.get("mask_function", causal_mask_function)
    if rule is causal_mask_function:
        return current
    if isinstance(current, Step):
        return replace(current, window=local)
    if local is not None and not options.get("use_vmap") and _slides(rule, local, current.longest):
        return replace(current, window=local)
    size = {"batch_size": 1, "q_length": current.longest, "kv_length": current.longest}
    plain = {"q_offset": 0, "kv_offset": 0, "attention_mask": None, "allow_is_bidirectional_skip": False}
    dense = sdpa_mask(**{**options, **size, **plain, "allow_is_causal_skip": False})
    return replace(current, mask=dense, rule=rule)


def _slides(rule: Any, window: int, longest: int) -> bool:
    """Whether a mask function is a causal sliding window, seen at the rows where it could differ from one."""
    rows = torch.tensor(sorted({row for row in (0, window - 1, window, window + 1, longest - 1) if 0 <= row < longest}))
    keys = torch.arange(longest)
    zero = torch.zeros((), dtype=torch.int64)
    seen = rule(zero, zero, rows[:, None], keys[None])
    distance = rows[:, None] - keys[None]
    return torch.equal(torch.as_tensor(seen).expand(distance.shape), (distance >= 0) & (distance < window))


def attention(
    module: nn.Module,
    query: Shaped[Tensor, "items heads n head_dim"],
    key: Shaped[Tensor, "items key_heads m head_dim"],
    value: Shaped[Tensor, "items key_heads m value_dim"],
    attention_mask: Any,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """``AttentionInterface`` function: every document attends to itself; Float["items n heads value_dim"].

    Raises:
        PluginError: the model's attention needs something that this function does not do.
    """
    if not isinstance(attention_mask, (Documents, Step)):
        if _CURRENT.get() is not None:
            raise PluginError(f"{type(module).__name__} makes its own masks and cannot read packed rows{_FIX}")
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
    for name in ("softcap", "s_aux", "position_bias"):
        if options.get(name) is not None:
            raise PluginError(f"{type(module).__name__} attends with {name!r}, which packed rows do not have{_FIX}")
    if isinstance(attention_mask, Step):
        layer, cache = int(module.layer_idx), attention_mask.cache  # type: ignore[arg-type]
        cache.write(layer, key, value)
        return cache.read(layer, query, attention_mask.window, scaling), None
    if attention_mask.cache is not None:
        attention_mask.cache.fill(int(module.layer_idx), key, value)  # type: ignore[arg-type]
    watcher = kept.current()
    if watcher is not None:
        return _watched(watcher, query, key, value, attention_mask, scaling), None
    return _attend(query, key, value, attention_mask, dropout, scaling), None


def _watched(
    watcher: kept.Kept, query: Tensor, key: Tensor, value: Tensor, documents: Documents, scaling: float | None
) -> Shaped[Tensor, "1 n heads value_dim"]:
    """The same for one document, its weights kept."""
    rows = query.shape[2]
    mask, causal = documents.pattern(rows, rows)
    seen = None if mask is None else mask[0, 0]
    if causal:
        seen = torch.ones(rows, rows, dtype=torch.bool, device=query.device).tril()
    return watcher.attend(query[0], key[0], value[0], seen, scaling)[None]


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, mask)
