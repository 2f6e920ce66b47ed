"""Half as many tokens: the mean of neighbouring rows."""

import torch
from torch import nn

from mmkit import BuildContext, Ragged, SoftAdapter


class Halve(SoftAdapter):
    """Means of two rows, then a linear layer; a last single row stays."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.out_dim = out_dim
        self.project = nn.Linear(in_dim, out_dim)

    def num_tokens(self, num_features: int) -> int:
        """Half of them, rounded up."""
        return (num_features + 1) // 2

    def forward(self, features: Ragged) -> Ragged:
        """Float["total in_dim"] → Float["half out_dim"]."""
        lengths = (features.lengths + 1) // 2
        starts = (lengths.cumsum(0) - lengths).to(features.device)
        pair = starts[features.segments()] + features.positions() // 2
        zeros = features.values.new_zeros(sum(lengths.tolist()), features.values.shape[1])
        sums = zeros.index_add(0, pair, features.values)
        counts = zeros[:, :1].index_add(0, pair, torch.ones_like(features.values[:, :1]))
        return Ragged(self.project(sums / counts), lengths)


def build(context: BuildContext) -> Halve:
    """Between the encoder's width and the stream's."""
    return Halve(context.in_dim, context.out_dim)
