"""LSTM (Hochreiter & Schmidhuber 1997) and GRU (Cho et al. 2014) as text encoders."""

from typing import Literal

from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mmkit import BuildContext, Config, Padded, Ragged, padded_recurrent
from mmkit_text.text_encoder import TextEncoder, TextProcessor
from mmkit_text.vocabularies import build_vocabulary


class Recurrent(TextEncoder):
    """Embedding → recurrent layers over packed sequences: a text's rows are the same alone and in any batch.

    Attributes:
        feature_dim: ``hidden_dim``, twice that where both directions are read.
    """

    def __init__(
        self,
        processor: TextProcessor,
        cell: Literal["lstm", "gru"],
        embedding_dim: int,
        hidden_dim: int,
        layers: int,
        bidirectional: bool,
        dropout: float,
    ) -> None:
        super().__init__(processor)
        self.feature_dim = hidden_dim * (2 if bidirectional else 1)
        self.table = _table(self.vocabulary.size, embedding_dim)
        make = nn.LSTM if cell == "lstm" else nn.GRU
        self.layers = make(
            embedding_dim,
            hidden_dim,
            layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(dropout)

    def resize(self, size: int) -> None:
        """A fresh table."""
        self.table = _table(size, self.table.embedding_dim)

    def rows(self, ids: Ragged) -> Ragged:
        """States of the last layer, one an id."""
        given = ids.replace(self.dropout(self.table(ids.values)))
        if isinstance(given, Padded):
            return padded_recurrent(self.layers, given)
        padded, _ = given.to_padded()
        packed = pack_padded_sequence(padded, ids.lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.layers(packed)[0], batch_first=True)
        return Ragged.from_padded(states, ids.lengths)


def _table(size: int, width: int) -> nn.Embedding:
    """Small at first, as in Keras: with PyTorch's N(0, 1) a classifier of few texts learns them by heart."""
    table = nn.Embedding(size, width)
    nn.init.uniform_(table.weight, -0.05, 0.05)
    return table


def build_lstm(
    context: BuildContext,
    *,
    vocabulary: Config,
    embedding_dim: int,
    hidden_dim: int,
    layers: int,
    bidirectional: bool,
    dropout: float,
    max_length: int | None,
) -> Recurrent:
    """An LSTM over a vocabulary."""
    processor = TextProcessor(build_vocabulary(context, vocabulary), max_length=max_length)
    return Recurrent(processor, "lstm", embedding_dim, hidden_dim, layers, bidirectional, dropout)


def build_gru(
    context: BuildContext,
    *,
    vocabulary: Config,
    embedding_dim: int,
    hidden_dim: int,
    layers: int,
    bidirectional: bool,
    dropout: float,
    max_length: int | None,
) -> Recurrent:
    """A GRU over a vocabulary."""
    processor = TextProcessor(build_vocabulary(context, vocabulary), max_length=max_length)
    return Recurrent(processor, "gru", embedding_dim, hidden_dim, layers, bidirectional, dropout)
