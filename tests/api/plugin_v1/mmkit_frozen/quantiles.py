"""Quantiles of a number, by the pinball loss (Koenker & Bassett 1978)."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmkit import BuildContext, Loss, Metric, Ragged, SampleError, TaskHead


class Quantiles(TaskHead):
    """A linear layer over the mean of a sample's rows."""

    def __init__(self, dim: int, quantiles: Sequence[float]) -> None:
        super().__init__()
        self.quantiles = list(quantiles)
        self.output = nn.Linear(dim, len(self.quantiles))

    def target(self, raw: Any) -> Float[Tensor, " n"]:
        """The number."""
        if isinstance(raw, bool) or not isinstance(raw, int | float):
            raise SampleError(f"the target must be a number, got {raw!r}")
        return torch.tensor([float(raw)])

    def _predict(self, rows: Ragged) -> Float[Tensor, "items quantiles"]:
        zeros = rows.values.new_zeros(len(rows), rows.values.shape[1])
        sums = zeros.index_add(0, rows.segments(), rows.values)
        return self.output(sums / rows.lengths.clamp(min=1).to(rows.device)[:, None])

    def loss(self, features: Sequence[Ragged], targets: Ragged) -> Loss:
        """Summed over samples."""
        gap = targets.values[:, None] - self._predict(features[0])
        share = gap.new_tensor(self.quantiles)
        return Loss(torch.maximum(share * gap, (share - 1) * gap).mean(-1).sum(), len(targets))

    def predict(self, features: Sequence[Ragged]) -> list[Any]:
        """``{quantile: number}`` of each sample."""
        return [dict(zip(self.quantiles, row, strict=True)) for row in self._predict(features[0]).tolist()]

    def metrics(self) -> list[Metric]:
        """Whether the quantiles hold what they say."""
        return [Coverage()]


class Coverage:
    """Share of references between the lowest and the highest quantile."""

    def __init__(self) -> None:
        self.inside: list[bool] = []

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Add a batch."""
        for given, wanted in zip(predictions, references, strict=True):
            self.inside.append(min(given.values()) <= wanted <= max(given.values()))

    def compute(self) -> dict[str, float]:
        """Over everything added."""
        return {"coverage": sum(self.inside) / max(1, len(self.inside))}


def build(context: BuildContext, *, quantiles: list[float]) -> Quantiles:
    """Over the node it reads."""
    return Quantiles(context.dims[0], quantiles)
