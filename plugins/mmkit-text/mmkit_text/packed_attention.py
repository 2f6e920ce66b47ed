"""Attention over documents laid end to end, for any transformers model that takes custom attention functions.

The documents travel as the "attention mask" of the model: ``AttentionMaskInterface`` makes them once a forward pass,
and every layer hands them to the attention function, also when gradient checkpointing runs the layer again.
Without documents both functions are transformers' own ``sdpa``, so that one model trains packed and decodes padded.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from mmkit import PluginError

NAME = "mmkit_packed"
_FILL = 0.75  # documents attend together when the shortest is at least this long, relative to the longest


@dataclass(frozen=True)
class Group:
    """Documents of similar length, attended to in one padded block.

    Attributes:
        rows: where each place of the block is in the packed rows, documents one after the other; padding repeats row 0.
        real: places that are not padding. longest: places a document.
    """

    rows: Int[Tensor, " places"]
    real: Int[Tensor, " real"]
    keys: Bool[Tensor, "documents longest"]
    longest: int


@dataclass(frozen=True)
class Documents:
    """The documents of one packed sequence.

    Attributes:
        groups: every document in one of them. order: puts the rows of all groups back in packed order.
        mask: who sees whom by places within a document; None: causal.
    """

    groups: tuple[Group, ...]
    order: Int[Tensor, " total"]
    longest: int
    mask: Bool[Tensor, "1 1 longest longest"] | None = None

    @classmethod
    def of(cls, sizes: Sequence[int], device: torch.device) -> "Documents":
        """Group documents of these lengths; all arithmetic is on the CPU."""
        lengths = torch.tensor(sizes, dtype=torch.int64)
        starts = lengths.cumsum(0) - lengths
        ranked = sorted((i for i, size in enumerate(sizes) if size), key=lambda i: -sizes[i])
        packs: list[list[int]] = []
        for index in ranked:
            if packs and sizes[index] >= _FILL * sizes[packs[-1][0]]:
                packs[-1].append(index)
            else:
                packs.append([index])
        groups, order = [], []
        for pack in packs:
            longest, members = sizes[pack[0]], torch.tensor(pack)
            keys = torch.arange(longest)[None] < lengths[members][:, None]
            rows = ((starts[members][:, None] + torch.arange(longest)[None]) * keys).flatten()
            real = keys.flatten().nonzero().flatten()
            order.append(rows[real])
            groups.append(Group(rows.to(device), real.to(device), keys.to(device), longest))
        return cls(tuple(groups), torch.cat(order).argsort().to(device), max(sizes))


_CURRENT: ContextVar[Documents | None] = ContextVar("mmkit_packed_documents", default=None)


@contextmanager
def packed(sizes: Sequence[int], device: torch.device) -> Iterator[None]:
    """Inside, a model with this attention reads one packed sequence of documents of these lengths."""
    token = _CURRENT.set(Documents.of(sizes, device))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def mask(**options: Any) -> Any:
    """``AttentionMaskInterface`` function: the documents with the model's own mask for the longest of them (sliding
    windows and the like), or transformers' mask where nothing is packed."""
    documents = _CURRENT.get()
    if documents is None:
        return sdpa_mask(**options)
    size = {"batch_size": 1, "q_length": documents.longest, "kv_length": documents.longest}
    plain = {"q_offset": 0, "kv_offset": 0, "attention_mask": None, "allow_is_bidirectional_skip": False}
    return replace(documents, mask=sdpa_mask(**{**options, **size, **plain}))


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
    if not isinstance(attention_mask, Documents):
        if _CURRENT.get() is not None:
            raise PluginError(f"{type(module).__name__} makes its own masks and cannot read packed rows{_FIX}")
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
    for name in ("softcap", "s_aux", "position_bias"):
        if options.get(name) is not None:
            raise PluginError(f"{type(module).__name__} attends with {name!r}, which packed rows do not have{_FIX}")
    flat = [part[0].transpose(0, 1) for part in (query, key, value)]
    outputs = [_attend(group, flat, attention_mask.mask, dropout, scaling) for group in attention_mask.groups]
    return torch.cat(outputs).index_select(0, attention_mask.order)[None], None


_FIX = "; fix: set attention: sdpa or attention: eager in the backbone's settings"


def _attend(
    group: Group, parts: Sequence[Tensor], mask: Tensor | None, dropout: float, scaling: float | None
) -> Shaped[Tensor, "real heads value_dim"]:
    heads = parts[0].shape[1]
    blocks = []
    for part in parts:
        block = part.index_select(0, group.rows).view(-1, group.longest, *part.shape[1:]).transpose(1, 2)
        blocks.append(block if block.shape[1] == heads else block.repeat_interleave(heads // block.shape[1], dim=1))
    if mask is not None:  # a place always sees itself, so that no row of padding is empty
        own = torch.eye(group.longest, dtype=torch.bool, device=mask.device)
        mask = (mask[:, :, : group.longest, : group.longest] & group.keys[:, None, None]) | own
    query, key, value = blocks
    read = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling, is_causal=mask is None
    )
    return read.transpose(1, 2).flatten(0, 1).index_select(0, group.real)


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, mask)
