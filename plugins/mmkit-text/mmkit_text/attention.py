"""Parts of a small transformer over packed rows: linear layers see no padding, attention sees a padded block."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mmkit import Ragged


class Layout:
    """Where the packed rows of a batch go in a padded block."""

    def __init__(self, lengths: Int[Tensor, " items"], device: torch.device) -> None:
        self.items, self.longest = len(lengths), int(lengths.max()) if len(lengths) else 0
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])[:-1]
        within = torch.arange(int(lengths.sum())) - torch.repeat_interleave(offsets, lengths)
        rows = torch.repeat_interleave(torch.arange(self.items) * self.longest, lengths)
        self.index = (rows + within).to(device)
        self.positions = within.to(device)
        self.real = (torch.arange(self.longest)[None] < lengths[:, None]).to(device)

    def pad(self, values: Float[Tensor, "total dim"]) -> Float[Tensor, "items longest dim"]:
        """Padded with zeros on the right."""
        block = values.new_zeros(self.items * self.longest, values.shape[1]).index_copy(0, self.index, values)
        return block.view(self.items, self.longest, values.shape[1])

    def unpad(self, block: Float[Tensor, "items longest dim"]) -> Float[Tensor, "total dim"]:
        """The real rows."""
        return block.flatten(0, 1).index_select(0, self.index)


def rotate(x: Float[Tensor, "total dim"], positions: Int[Tensor, " total"], heads: int) -> Float[Tensor, "total dim"]:
    """Rotary position embedding (Su et al. 2021, equation 34), base 10,000, within every head."""
    half = x.shape[1] // heads // 2
    rates = torch.exp(-math.log(10_000.0) * torch.arange(half, device=x.device) / half)
    angles = positions[:, None] * rates
    cos, sin = angles.cos().to(x.dtype)[:, None], angles.sin().to(x.dtype)[:, None]
    first, second = x.view(x.shape[0], heads, 2, half).unbind(2)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).flatten(1)


class Attention(nn.Module):
    """Multi-head attention whose keys and values can be kept between decoding steps."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim, bias=False) for _ in range(4))

    def split(self, block: Float[Tensor, "items n dim"]) -> Float[Tensor, "items heads n head_dim"]:
        """Heads apart."""
        return block.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def attend(
        self,
        query: Float[Tensor, "items heads n head_dim"],
        key: Float[Tensor, "items heads m head_dim"],
        value: Float[Tensor, "items heads m head_dim"],
        mask: Bool[Tensor, "items #n m"],
    ) -> Float[Tensor, "items n dim"]:
        """Scaled dot products where ``mask`` is True; the output projection is left to the caller."""
        read = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None])
        return read.transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(dim, hidden, bias=False), nn.Linear(dim, hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
        """Row by row."""
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """Pre-norm self-attention, optional cross-attention, feed-forward."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float, cross: bool) -> None:
        super().__init__()
        self.attention, self.norm = Attention(dim, heads), nn.RMSNorm(dim)
        self.cross = Attention(dim, heads) if cross else None
        self.cross_norm = nn.RMSNorm(dim) if cross else None
        self.forward_norm, self.feed_forward = nn.RMSNorm(dim), FeedForward(dim, hidden)
        self.dropout = nn.Dropout(dropout)

    def keys(self, x: Float[Tensor, "total dim"], positions: Int[Tensor, " total"]) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values, packed."""
        normed, heads = self.norm(x), self.attention.heads
        query = rotate(self.attention.query(normed), positions, heads)
        key = rotate(self.attention.key(normed), positions, heads)
        return query, key, self.attention.value(normed)

    def memory(self, states: Ragged, layout: Layout) -> tuple[Tensor, Tensor]:
        """Keys and values of an encoder's states for cross-attention, with a zero row in front: an item without
        any states attends to that alone."""
        assert self.cross is not None
        blocks = [layout.pad(project(states.values)) for project in (self.cross.key, self.cross.value)]
        key, value = (self.cross.split(functional.pad(block, (0, 0, 1, 0))) for block in blocks)
        return key, value

    def read(self, x: Tensor, layout: Layout, memory: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """Cross-attention of packed rows."""
        assert self.cross is not None
        assert self.cross_norm is not None
        query = self.cross.split(layout.pad(self.cross.query(self.cross_norm(x))))
        return x + self.dropout(self.cross.out(layout.unpad(self.cross.attend(query, *memory, mask))))

    def read_step(self, x: Float[Tensor, "items dim"], memory: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """Cross-attention of one row an item."""
        assert self.cross is not None
        assert self.cross_norm is not None
        query = self.cross.split(self.cross.query(self.cross_norm(x))[:, None])
        return x + self.dropout(self.cross.out(self.cross.attend(query, *memory, mask)[:, 0]))

    def finish(self, x: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
        """The feed-forward half."""
        return x + self.dropout(self.feed_forward(self.forward_norm(x)))

    def forward(
        self,
        x: Float[Tensor, "total dim"],
        positions: Int[Tensor, " total"],
        layout: Layout,
        mask: Bool[Tensor, "items n m"],
        memory: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> Float[Tensor, "total dim"]:
        """``mask``: who sees whom in self-attention; ``memory``: keys, values and mask of the encoder."""
        query, key, value = (self.attention.split(layout.pad(part)) for part in self.keys(x, positions))
        read = layout.unpad(self.attention.attend(query, key, value, mask))
        x = x + self.dropout(self.attention.out(read))
        if memory is not None:
            x = self.read(x, layout, memory[:2], memory[2])
        return self.finish(x)


def initialise(module: nn.Module, blocks: int) -> None:
    """Normal weights with deviation 1/√fan_in; the layers that write into the residual stream are smaller by
    1/√(2·blocks) (Radford et al. 2019, section 2.3)."""
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear):
            writes = name.endswith((".out", ".down"))
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5 / ((2 * blocks) ** 0.5 if writes else 1.0))
