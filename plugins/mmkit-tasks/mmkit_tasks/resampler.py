"""Perceiver resampler (Jaegle et al. 2021; as in Flamingo, Alayrac et al. 2022): any number of rows → a fixed number."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from mmkit import BuildContext, PluginError, Ragged, SoftAdapter
from mmkit_tasks.positions import Positions


class ResamplerLayer(nn.Module):
    """Queries attend to an item's rows and to themselves, then a feed-forward network; normalised before each."""

    def __init__(self, dim: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_queries, self.norm_rows = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_query = nn.Linear(dim, dim, bias=False)
        self.to_key_value = nn.Linear(dim, 2 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)
        self.feedforward = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, feedforward), nn.GELU(), nn.Dropout(dropout), nn.Linear(feedforward, dim)
        )

    def _split(self, rows: Float[Tensor, "items n dim"]) -> Float[Tensor, "items heads n head_dim"]:
        return rows.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(
        self,
        queries: Float[Tensor, "items tokens dim"],
        rows: Float[Tensor, "items longest dim"],
        mask: Bool[Tensor, "items longest_and_tokens"],
    ) -> Float[Tensor, "items tokens dim"]:
        """``mask`` is True at real rows, then at the queries; padding is never attended to."""
        normed = self.norm_queries(queries)
        key, value = self.to_key_value(torch.cat([self.norm_rows(rows), normed], dim=1)).chunk(2, dim=-1)
        attended = functional.scaled_dot_product_attention(
            self._split(self.to_query(normed)), self._split(key), self._split(value), attn_mask=mask[:, None, None]
        )
        queries = queries + self.to_out(attended.transpose(1, 2).flatten(2))
        return queries + self.feedforward(queries)


class Resampler(SoftAdapter):
    """``tokens`` learned queries per item; an item without rows still gives ``tokens`` tokens."""

    def __init__(
        self, dims: tuple[int, int, int], tokens: int, layers: int, heads: int, dropout: float, positions: bool
    ) -> None:
        super().__init__()
        in_dim, dim, self.out_dim = dims
        self.tokens = tokens
        self.project_in = nn.Linear(in_dim, dim) if in_dim != dim else nn.Identity()
        self.positions = Positions("sinusoidal", dim, 0, None) if positions else None
        self.queries = nn.Parameter(torch.randn(tokens, dim) * 0.02)
        self.layers = nn.ModuleList(ResamplerLayer(dim, heads, 4 * dim, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.project_out = nn.Linear(dim, self.out_dim) if dim != self.out_dim else nn.Identity()

    def num_tokens(self, num_features: int) -> int:
        """Always ``tokens``."""
        return self.tokens

    def forward(self, features: Ragged) -> Ragged:
        """Float["total in_dim"] → Float["items*tokens out_dim"]."""
        rows = features.replace(self.project_in(features.values))
        if self.positions is not None:
            rows = self.positions(rows)
        padded, mask = rows.to_padded()
        items = features.lengths.shape[0]
        mask = torch.cat([mask, mask.new_ones(items, self.tokens)], dim=1)
        queries = self.queries.to(padded.dtype).expand(items, -1, -1)
        for layer in self.layers:
            queries = layer(queries, padded, mask)
        return features.equal(self.project_out(self.norm(queries)))


def build(
    context: BuildContext, *, tokens: int, dim: int | None, layers: int, heads: int, dropout: float, positions: bool
) -> Resampler:
    """A resampler ``dim`` wide inside, by default as wide as its tokens."""
    inner = dim or context.out_dim
    if inner % heads:
        raise PluginError(
            f"adapter 'resampler': its width {inner} is not divisible by heads = {heads}; change dim or heads"
        )
    return Resampler((context.in_dim, inner, context.out_dim), tokens, layers, heads, dropout, positions)
