"""Embedding → LSTM (Hochreiter & Schmidhuber 1997) as a backbone."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mmkit import Backbone, BuildContext, DecodingState, Padded, Ragged, padded_recurrent
from mmkit_text.linear import plain_linear


class LstmState(DecodingState):
    """Hidden and cell state, Float["layers items hidden"] each."""

    def __init__(self, hidden: Tensor, cell: Tensor) -> None:
        self.hidden, self.cell = hidden, cell

    def reorder(self, items: Int[Tensor, " beams"]) -> "LstmState":
        """Select items."""
        return LstmState(self.hidden.index_select(1, items), self.cell.index_select(1, items))


class Lstm(Backbone):
    """Packed sequences: a sample's states are the same alone and in any batch."""

    def __init__(
        self,
        rows: int,
        embedding_dim: int,
        hidden_dim: int,
        layers: int,
        bidirectional: bool,
        dropout: float,
        output: bool = True,
    ) -> None:
        super().__init__()
        self.token_dim = embedding_dim
        self.hidden_dim = hidden_dim * (2 if bidirectional else 1)
        self.generates = not bidirectional
        self.table = nn.Embedding(max(rows, 1), embedding_dim)
        self.lstm = nn.LSTM(
            embedding_dim, hidden_dim, layers, batch_first=True, bidirectional=bidirectional, dropout=dropout
        )
        self.output = nn.Linear(self.hidden_dim, max(rows, 1)) if self.generates and output else None

    def embed(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n token_dim"]:
        """Rows of the table."""
        return self.table(ids)

    def _run(self, tokens: Ragged) -> tuple[Ragged, LstmState]:
        lengths = tokens.lengths.clamp(min=1)
        padded, _ = tokens.to_padded()
        if padded.shape[1] == 0:
            padded = tokens.values.new_zeros(len(tokens), 1, self.token_dim)
        packed = pack_padded_sequence(padded, lengths, batch_first=True, enforce_sorted=False)
        states, (hidden, cell) = self.lstm(packed)
        unpacked, _ = pad_packed_sequence(states, batch_first=True)
        empty = (tokens.lengths == 0).to(hidden.device)[None, :, None]
        state = LstmState(hidden.masked_fill(empty, 0), cell.masked_fill(empty, 0))
        return Ragged.from_padded(unpacked, tokens.lengths), state

    def forward(self, prompt: Ragged, target: Ragged | None = None) -> Ragged:
        """States of the prompt, or of the target read after the prompt."""
        if isinstance(prompt, Padded):
            return padded_recurrent(self.lstm, prompt)
        if target is None:
            return self._run(prompt)[0]
        pieces = [torch.cat(pair) for pair in zip(prompt.split(), target.split(), strict=True)]
        states = self._run(Ragged.of(pieces))[0].split()
        return Ragged.of([s[size:] for s, size in zip(states, prompt.sizes, strict=True)])

    def logits(self, hidden: Float[Tensor, "n hidden_dim"]) -> Float[Tensor, "n vocabulary"]:
        """Linear scores."""
        if self.output is None:
            return super().logits(hidden)
        return self.output(hidden)

    def output_layer(self) -> tuple[Tensor, Tensor | None] | None:
        """The linear layer."""
        return plain_linear(self.output)

    def prefill(self, prompt: Ragged) -> LstmState:
        """Read the prompts."""
        return self._run(prompt)[1]

    def step(self, state: DecodingState, tokens: Float[Tensor, "items token_dim"]) -> Float[Tensor, "items hidden_dim"]:
        """One more token for every item."""
        assert isinstance(state, LstmState)
        output, (state.hidden, state.cell) = self.lstm(tokens[:, None], (state.hidden, state.cell))
        return output[:, 0]


def build(
    context: BuildContext, *, embedding_dim: int, hidden_dim: int, layers: int, bidirectional: bool, dropout: float
) -> Lstm:
    """An LSTM over a table with the rows that the spec's vocabularies need."""
    rows, output = context.vocabulary_size, context.generates
    return Lstm(rows, embedding_dim, hidden_dim, layers, bidirectional, dropout, output)
