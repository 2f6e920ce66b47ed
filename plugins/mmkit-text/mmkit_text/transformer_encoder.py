"""A small bidirectional transformer as a text encoder (Vaswani et al. 2017, pre-norm)."""

from typing import Literal

import torch
from torch import nn

from mmkit import BuildContext, Config, Ragged
from mmkit_text.attention import Block, Turns, initialise, layout_of
from mmkit_text.text_encoder import TextEncoder, TextProcessor
from mmkit_text.vocabularies import build_vocabulary


class TransformerEncoder(TextEncoder):
    """Every id of a text sees every other; positions are rotary (Su et al. 2021) or learned.

    Attributes:
        feature_dim: ``dim``.
    """

    def __init__(
        self,
        processor: TextProcessor,
        dim: int,
        layers: int,
        heads: int,
        hidden: int,
        dropout: float,
        learned_positions: bool,
    ) -> None:
        super().__init__(processor)
        self.feature_dim, self.heads = dim, heads
        self.table = nn.Embedding(self.vocabulary.size, dim)
        self.places: nn.Embedding | None = None
        if learned_positions:
            assert processor.max_length is not None
            self.places = nn.Embedding(processor.max_length, dim)
        self.blocks = nn.ModuleList(Block(dim, heads, hidden, dropout, cross=False) for _ in range(layers))
        self.norm = nn.RMSNorm(dim)
        self.dropout = nn.Dropout(dropout)
        initialise(self, layers)
        for table in filter(None, (self.table, self.places)):
            nn.init.normal_(table.weight, std=dim**-0.5)

    def resize(self, size: int) -> None:
        """A fresh table."""
        self.table = nn.Embedding(size, self.feature_dim)
        nn.init.normal_(self.table.weight, std=self.feature_dim**-0.5)

    def rows(self, ids: Ragged) -> Ragged:
        """Normalised states of the last block, one an id."""
        layout = layout_of(ids, causal=False)
        x, positions = self.table(ids.values), layout.positions
        if self.places is not None:
            x, positions = x + self.places(positions), torch.zeros_like(positions)
        x = self.dropout(x * self.feature_dim**0.5)
        turns = Turns.of(positions, self.feature_dim // self.heads, x.dtype)
        for block in self.blocks:
            x = block(x, turns, layout)
        return ids.replace(self.norm(x))


def build(
    context: BuildContext,
    *,
    vocabulary: Config,
    dim: int,
    layers: int,
    heads: int,
    ffn: int | None,
    dropout: float,
    positions: Literal["rotary", "learned"],
    max_length: int,
) -> TransformerEncoder:
    """A transformer over a vocabulary."""
    processor = TextProcessor(build_vocabulary(context, vocabulary), max_length=max_length)
    hidden = ffn or -(-dim * 8 // 3 // 16) * 16
    return TransformerEncoder(processor, dim, layers, heads, hidden, dropout, positions == "learned")
