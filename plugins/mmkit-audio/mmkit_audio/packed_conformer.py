"""Conformer layers over clips laid end to end: nothing is computed for padding, and no clip sees another.

Convolutions run over one long sequence in which zeros stand between the clips. Attention runs over groups of clips of
nearly one length. Everything else takes a frame at a time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mmkit import Padded, Ragged, uncompiled

_ALIKE = 1.25
"""Lengths of clips that attend together differ by less than this factor."""


def gapped(lengths: Sequence[int], gap: int, step: int = 1) -> tuple[list[int], int]:
    """Where each clip starts in a sequence with at least ``gap`` zeros after each, at multiples of ``step``; its length."""
    starts, end = [], 0
    for length in lengths:
        starts.append(end)
        end = -(-(end + length) // step) * step + gap
    return starts, end


def places(starts: Sequence[int], lengths: Int[Tensor, " items"]) -> Int[Tensor, " total"]:
    """Where every frame of every clip is in a sequence in which the clips start there (CPU)."""
    shifts = torch.tensor(starts) - (lengths.cumsum(0) - lengths)
    return torch.arange(int(lengths.sum())) + shifts.repeat_interleave(lengths)


@dataclass(frozen=True)
class Alike:
    """Clips of nearly one length: the frames of each in a row, padded with frame 0; which are real (None: all are), and
    where they are in the rows laid end to end."""

    frames: Int[Tensor, "items longest"]
    real: Bool[Tensor, "items longest"] | None
    rows: Int[Tensor, " real"]


@dataclass(frozen=True)
class Layout:
    """What all layers need to know of a batch.

    Attributes:
        places: of every frame, in a sequence of ``length`` with zeros between the clips.
        groups: clips that attend together. order: puts the frames of all groups back in the order of the batch.
    """

    places: Int[Tensor, " total"]
    length: int
    groups: tuple[Alike, ...]
    order: Int[Tensor, " total"]

    @classmethod
    def of(cls, lengths: Int[Tensor, " items"], gap: int, device: torch.device) -> "Layout":
        """Of a batch of clips of these lengths, for convolutions that reach ``gap`` frames far."""
        sizes = lengths.tolist()
        starts, length = gapped(sizes, gap)
        offsets = (lengths.cumsum(0) - lengths).tolist()
        groups, order = [], []
        for members in _grouped(sizes):
            longest = sizes[members[-1]]
            at = torch.arange(longest)
            real = at < torch.tensor([sizes[member] for member in members])[:, None]
            frames = torch.where(real, at + torch.tensor([offsets[member] for member in members])[:, None], 0)
            order.append(frames[real])
            rows = real.flatten().nonzero()[:, 0]
            groups.append(Alike(frames.to(device), None if bool(real.all()) else real.to(device), rows.to(device)))
        back = torch.cat(order).argsort()
        return cls(places(starts, lengths).to(device), length, tuple(groups), back.to(device))


@dataclass(frozen=True)
class PaddedLayout:
    """What all layers need to know of a batch in an exported graph: which frames count."""

    mask: Bool[Tensor, "items longest"]


def _grouped(sizes: Sequence[int]) -> list[list[int]]:
    """Clips from the shortest to the longest, in groups of nearly one length."""
    groups: list[list[int]] = []
    for index in sorted(range(len(sizes)), key=lambda index: sizes[index]):
        if not groups or sizes[index] > _ALIKE * sizes[groups[-1][0]]:
            groups.append([])
        groups[-1].append(index)
    return groups


class PackedConformerLayer(nn.Module):
    """A layer of torchaudio's Conformer (Gulati et al. 2020), its parts and their names as they are there."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.ffn1: nn.Module = layer.ffn1
        self.self_attn_layer_norm: nn.Module = layer.self_attn_layer_norm
        self.self_attn: nn.MultiheadAttention = layer.self_attn
        self.self_attn_dropout: nn.Module = layer.self_attn_dropout
        self.conv_module: Any = layer.conv_module
        self.ffn2: nn.Module = layer.ffn2
        self.final_layer_norm: nn.Module = layer.final_layer_norm

    @property
    def reach(self) -> int:
        """Frames to either side that the convolution sees."""
        return int(self.conv_module.sequential[2].padding[0])

    def forward(self, x: Float[Tensor, "*total dim"], layout: Layout | PaddedLayout) -> Float[Tensor, "*total dim"]:
        """Half a feed-forward, attention within each clip, convolution, half a feed-forward."""
        x = x + 0.5 * self.ffn1(x)
        x = x + self.self_attn_dropout(self._attention(self.self_attn_layer_norm(x), layout))
        x = x + self._convolution(self.conv_module.layer_norm(x), layout)
        x = x + 0.5 * self.ffn2(x)
        return self.final_layer_norm(x)

    def _attention(self, x: Float[Tensor, "*total dim"], layout: Layout | PaddedLayout) -> Float[Tensor, "*total dim"]:
        attention = self.self_attn
        mixed = functional.linear(x, attention.in_proj_weight, attention.in_proj_bias)
        if isinstance(layout, PaddedLayout):
            return attention.out_proj(self._heads(mixed, layout.mask))
        return attention.out_proj(self._groups(mixed, layout, attention.dropout if self.training else 0.0))

    def _heads(
        self, mixed: Float[Tensor, "items longest three_dim"], mask: Bool[Tensor, "items longest"]
    ) -> Float[Tensor, "items longest dim"]:
        """Attention within each clip, in an exported graph; a frame that does not count sees itself alone."""
        query, key, value = (
            part.unflatten(2, (self.self_attn.num_heads, -1)).transpose(1, 2) for part in mixed.chunk(3, dim=2)
        )
        seen = mask[:, None, None] | torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        heads = functional.scaled_dot_product_attention(query, key, value, seen)
        return heads.transpose(1, 2).flatten(2)

    @uncompiled
    def _groups(
        self, mixed: Float[Tensor, "total three_dim"], layout: Layout, dropout: float
    ) -> Float[Tensor, "total dim"]:
        """Attention within each clip. Compiled layers call it as it is, whatever the groups."""
        rows = []
        for group in layout.groups:
            items, longest = group.frames.shape
            parts = mixed[group.frames].view(items, longest, 3, self.self_attn.num_heads, -1).permute(2, 0, 3, 1, 4)
            mask = None if group.real is None else group.real[:, None, None]
            heads = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], mask, dropout)
            joined = heads.transpose(1, 2).flatten(2).flatten(0, 1)
            rows.append(joined if group.real is None else joined.index_select(0, group.rows))
        return torch.cat(rows).index_select(0, layout.order)

    def _convolution(
        self, x: Float[Tensor, "*total dim"], layout: Layout | PaddedLayout
    ) -> Float[Tensor, "*total dim"]:
        widen, _, depthwise, norm, activation, narrow, dropout = self.conv_module.sequential
        x = functional.glu(functional.linear(x, widen.weight.squeeze(-1), widen.bias))
        if isinstance(layout, PaddedLayout):
            x = depthwise(torch.where(layout.mask[..., None], x, 0.0).mT)
            x = activation(norm(x)).mT
            return dropout(functional.linear(x, narrow.weight.squeeze(-1), narrow.bias))
        spread = x.new_zeros(layout.length, x.shape[1]).index_copy(0, layout.places, x)
        x = depthwise(spread.T[None])[0].T.index_select(0, layout.places)
        x = activation(norm(x))
        return dropout(functional.linear(x, narrow.weight.squeeze(-1), narrow.bias))


def shortened_padded(frames: Padded, convolutions: nn.ModuleList) -> Padded:
    """As ``shortened``, in an exported graph."""
    rows = frames
    for convolution in convolutions:
        if isinstance(convolution, nn.Conv1d):
            stride = convolution.stride[0]
            x = functional.gelu(convolution(rows.to_padded()[0].mT)).mT
            rows = Padded(x, (rows.lengths + stride - 1) // stride)
    return rows


def shortened(frames: Ragged, convolutions: nn.ModuleList) -> tuple[Float[Tensor, "rows dim"], Int[Tensor, " items"]]:
    """Convolutions of kernel 3 over the frames of each clip, as if it were alone; the rows and how many a clip has.

    The clips lie in one sequence, each at a multiple of all strides together, so that every convolution meets its
    first frame as it would alone; after each, what was computed for the zeros between them is zero again.
    """
    chain = [convolution for convolution in convolutions if isinstance(convolution, nn.Conv1d)]
    step = math.prod(convolution.stride[0] for convolution in chain)
    lengths, device = frames.lengths, frames.device
    starts, length = gapped(frames.sizes, step, step)
    at = places(starts, lengths).to(device)
    x = frames.values.new_zeros(length, frames.values.shape[1]).index_copy(0, at, frames.values).T[None]
    for convolution in chain:
        stride = convolution.stride[0]
        x = functional.gelu(convolution(x))
        starts, lengths = [start // stride for start in starts], -(-lengths // stride)
        at = places(starts, lengths).to(device)
        x = x * torch.zeros(x.shape[2], device=device, dtype=x.dtype).index_fill(0, at, 1)
    return x[0].T.index_select(0, at), lengths
