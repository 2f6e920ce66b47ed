"""Classification: pooled features → one label."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmkit import BuildContext, Loss, Metric, Ragged, SampleError, TaskHead


def pool(features: Ragged, how: str) -> Tensor:
    """Float["total dim"] → Float["items dim"]; an empty item gives zeros."""
    items, dim = len(features), features.values.shape[1]
    out = features.values.new_zeros(items, dim)
    index = features.segments()
    if how == "mean":
        counts = features.lengths.clamp(min=1).to(features.device)[:, None]
        return out.index_add(0, index, features.values) / counts
    if how == "max":
        return out.scatter_reduce(0, index[:, None].expand(-1, dim), features.values, "amax", include_self=False)
    has = features.lengths > 0
    rows = features.offsets[1:] - 1 if how == "last" else features.offsets[:-1]
    return out.index_copy(0, has.nonzero()[:, 0].to(out.device), features.values[rows[has].to(out.device)])


class Classify(TaskHead):
    """Softmax cross-entropy, or binary cross-entropy of one sigmoid for the second label."""

    def __init__(self, dim: int, labels: list[str | int], how: str, binary: bool, dropout: float) -> None:
        super().__init__()
        self.labels, self.how, self.binary = labels, how, binary
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(dim, 1 if binary else len(labels))

    def target(self, raw: Any) -> Tensor:
        """The label's place in the list."""
        if raw in self.labels:
            return torch.tensor([self.labels.index(raw)])
        close = get_close_matches(str(raw), [str(label) for label in self.labels], n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"listed: {', '.join(map(str, self.labels[:20]))}"
        raise SampleError(f"label {raw!r} is not in the head's labels; {hint}")

    def _logits(self, features: Sequence[Ragged]) -> Tensor:
        return self.output(self.dropout(pool(features[0], self.how))).float()

    def loss(self, features: Sequence[Ragged], targets: Ragged) -> Loss:
        """Summed over samples."""
        logits = self._logits(features)
        if self.binary:
            wanted = targets.values.to(logits.dtype)
            total = functional.binary_cross_entropy_with_logits(logits[:, 0], wanted, reduction="sum")
        else:
            total = functional.cross_entropy(logits, targets.values, reduction="sum")
        return Loss(total, len(targets))

    def predict(self, features: Sequence[Ragged]) -> list[Any]:
        """The label, and the probability of every label."""
        logits = self._logits(features)
        if self.binary:
            yes = logits[:, 0].sigmoid()
            probabilities = torch.stack([1 - yes, yes], dim=1)
        else:
            probabilities = logits.softmax(-1)
        rows = probabilities.cpu().tolist()
        return [
            {
                "label": self.labels[max(range(len(row)), key=row.__getitem__)],
                "probabilities": {str(label): p for label, p in zip(self.labels, row, strict=True)},
            }
            for row in rows
        ]

    def metrics(self) -> list[Metric]:
        """Accuracy."""
        return [Accuracy()]


class Accuracy:
    """Share of predictions whose label is the reference."""

    def __init__(self) -> None:
        self.right = self.total = 0

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Count."""
        self.right += sum(p["label"] == r for p, r in zip(predictions, references, strict=True))
        self.total += len(references)

    def compute(self) -> dict[str, float]:
        """``accuracy``."""
        return {"accuracy": self.right / max(1, self.total)}


def build(context: BuildContext, *, labels: list[str | int], pool: str, binary: bool, dropout: float) -> Classify:
    """A classifier over the node it reads."""
    return Classify(context.dims[0], labels, pool, binary, dropout)
