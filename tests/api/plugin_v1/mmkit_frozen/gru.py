"""A GRU (Cho et al. 2014) as a backbone."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mmkit import Backbone, BuildContext, DecodingState, Ragged


class GruState(DecodingState):
    """Float["1 items dim"]."""

    def __init__(self, hidden: Tensor) -> None:
        self.hidden = hidden

    def reorder(self, items: Int[Tensor, " beams"]) -> "GruState":
        """Items selected, repeated or reordered, for beam search."""
        return GruState(self.hidden.index_select(1, items))


class Gru(Backbone):
    """One layer, read from left to right."""

    generates = True

    def __init__(self, rows: int, dim: int) -> None:
        super().__init__()
        self.token_dim = self.hidden_dim = dim
        self.table = nn.Embedding(max(rows, 1), dim)
        self.gru = nn.GRU(dim, dim, batch_first=True)
        self.output = nn.Linear(dim, max(rows, 1))

    def embed(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n token_dim"]:
        """Rows of the table."""
        return self.table(ids)

    def forward(self, prompt: Ragged, target: Ragged | None = None) -> Ragged:
        """States of the prompt; or of the target, read after the prompt."""
        if target is None:
            return self._read(prompt)
        pairs = zip(prompt.split(), target.split(), strict=True)
        states = self._read(Ragged.of([torch.cat(pair) for pair in pairs])).split()
        return Ragged.of([rows[size:] for rows, size in zip(states, prompt.sizes, strict=True)])

    def _read(self, tokens: Ragged) -> Ragged:
        if not tokens.values.shape[0]:
            return tokens
        padded, mask = tokens.to_padded()  # padding on the right is read last, so it changes no state
        return tokens.replace(self.gru(padded)[0][mask])

    def prefill(self, prompt: Ragged) -> GruState:
        """The last state of every prompt; zeros where a prompt is empty."""
        zeros = prompt.values.new_zeros(1, self.hidden_dim)
        last = [torch.cat([zeros, rows])[-1] for rows in self._read(prompt).split()]
        return GruState(torch.stack(last)[None])

    def step(self, state: GruState, tokens: Float[Tensor, "items token_dim"]) -> Float[Tensor, "items hidden_dim"]:
        """One more token for every item."""
        output, state.hidden = self.gru(tokens[:, None], state.hidden)
        return output[:, 0]

    def logits(self, hidden: Float[Tensor, "n hidden_dim"]) -> Float[Tensor, "n vocabulary"]:
        """Scores of every id."""
        return self.output(hidden)

    def output_layer(self) -> tuple[Tensor, Tensor | None]:
        """The layer behind them, nothing else: losses then take less time."""
        return self.output.weight, self.output.bias


def build(context: BuildContext, *, dim: int) -> Gru:
    """With the rows that the spec's vocabularies need."""
    return Gru(context.vocabulary_size, dim)
