"""Metrics of labels and numbers, by torchmetrics, which is imported when a figure is computed."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class LabelScores:
    """``accuracy``, ``f1`` and ``auroc`` of predictions with probabilities.

    * multiclass: share of right labels; F1 and one-against-rest AUROC averaged over labels.
    * binary: the same accuracy; F1 and AUROC of the second label.
    * multilabel: share of right (sample, label) decisions; F1 and AUROC averaged over labels.

    A label without both positive and negative samples has no AUROC and is left out of the average; where no label
    has one, the figure is left out.
    """

    def __init__(self, kind: str, labels: int, indices: Callable[[Any], list[int]], threshold: float = 0.5) -> None:
        self.kind, self.labels, self.indices, self.threshold = kind, labels, indices, threshold
        self.probabilities: list[list[float]] = []
        self.targets: list[list[int]] = []

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Add ``{"probabilities": …}`` and raw labels."""
        for prediction, reference in zip(predictions, references, strict=True):
            self.probabilities.append(list(prediction["probabilities"].values()))
            self.targets.append(self.indices(reference))

    def compute(self) -> dict[str, float]:
        """The figures; empty where nothing was added."""
        if not self.targets:
            return {}
        from torchmetrics.functional import classification as scores

        given, count = torch.tensor(self.probabilities), self.labels
        hot = torch.zeros(len(self.targets), count, dtype=torch.int64)
        for row, indices in enumerate(self.targets):
            hot[row, indices] = 1
        if self.kind == "binary":
            accuracy = scores.binary_accuracy(given[:, 1], hot[:, 1], self.threshold)
            f1 = scores.binary_f1_score(given[:, 1], hot[:, 1], self.threshold)
            pairs = [(given[:, 1], hot[:, 1])]
        elif self.kind == "multiclass":
            accuracy = scores.multiclass_accuracy(given, hot.argmax(1), count, average="micro")
            f1 = scores.multiclass_f1_score(given, hot.argmax(1), count, average="macro")
            pairs = list(zip(given.T, hot.T, strict=True))
        else:
            accuracy = scores.multilabel_accuracy(given, hot, count, self.threshold, average="micro")
            f1 = scores.multilabel_f1_score(given, hot, count, self.threshold, average="macro")
            pairs = list(zip(given.T, hot.T, strict=True))
        figures = {"accuracy": float(accuracy), "f1": float(f1)}
        areas = [float(scores.binary_auroc(p, t)) for p, t in pairs if 0 < int(t.sum()) < len(t)]
        if areas:
            figures["auroc"] = sum(areas) / len(areas)
        return figures


class NumberScores:
    """``mae`` and ``rmse`` over all numbers, ``pearson`` averaged over dimensions.

    A dimension whose predictions or references are all equal has no correlation and is left out.
    """

    def __init__(self) -> None:
        self.predictions: list[list[float]] = []
        self.references: list[list[float]] = []

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Add numbers, or lists of numbers."""
        self.predictions += [p if isinstance(p, list) else [p] for p in predictions]
        self.references += [list(r) if isinstance(r, list | tuple) else [r] for r in references]

    def compute(self) -> dict[str, float]:
        """The figures, in the units of the data; empty where nothing was added."""
        if not self.references:
            return {}
        from torchmetrics.functional import mean_absolute_error, mean_squared_error, pearson_corrcoef

        got = torch.tensor(self.predictions, dtype=torch.float64)
        wanted = torch.tensor(self.references, dtype=torch.float64)
        figures = {
            "mae": float(mean_absolute_error(got, wanted)),
            "rmse": float(mean_squared_error(got.flatten(), wanted.flatten(), squared=False)),
        }
        pairs = [(a, b) for a, b in zip(got.T, wanted.T, strict=True) if _varies(a) and _varies(b)]
        if pairs:
            figures["pearson"] = sum(float(pearson_corrcoef(a, b)) for a, b in pairs) / len(pairs)
        return figures


def _varies(values: Tensor) -> bool:
    return bool((values != values[0]).any())
