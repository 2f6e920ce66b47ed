"""A head that learns from scores and decodes what the backbone generated."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from mmkit import BuildContext, Loss, Metric, PluginError, Ragged, SampleError, Scores, TaskHead, VocabularyAdapter


class Continue(TaskHead):
    """Cross-entropy of teacher-forced ids. Has no weights."""

    autoregressive = True

    def __init__(self, vocabulary: VocabularyAdapter, label_smoothing: float, decoding: Mapping[str, Any]) -> None:
        super().__init__()
        self.vocabulary, self.label_smoothing, self.decoding = vocabulary, label_smoothing, dict(decoding)

    def target(self, raw: Any) -> Int[Tensor, " n"]:
        """Ids and the end id."""
        ids = self.vocabulary.encode(raw)
        if not ids:
            raise SampleError("there is nothing to continue")
        return torch.tensor([*ids, self.vocabulary.end_id])

    def loss(self, features: Sequence[Ragged], targets: Ragged) -> Loss:
        """Summed over target ids."""
        scores = features[0]
        assert isinstance(scores, Scores)
        return Loss(scores.cross_entropy(targets, self.label_smoothing), len(targets.values))

    def predict(self, features: Sequence[Ragged]) -> list[Any]:
        """The generated ids of each sample, decoded."""
        return [self.vocabulary.decode(ids.tolist()) for ids in features[0].split()]

    def options(self) -> Mapping[str, Any]:
        """Decoding options of the config."""
        return self.decoding

    def metrics(self) -> list[Metric]:
        """How many values are right."""
        return [Right()]


class Right:
    """Share of outputs that have the length of their reference."""

    def __init__(self) -> None:
        self.right: list[bool] = []

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Add a batch."""
        self.right += [len(given) == len(wanted) for given, wanted in zip(predictions, references, strict=True)]

    def compute(self) -> dict[str, float]:
        """Over everything added."""
        return {"right_length": sum(self.right) / max(1, len(self.right))}


def build(context: BuildContext, *, label_smoothing: float, max_new_tokens: int, beams: int) -> Continue:
    """Spells with the vocabulary of the output column."""
    if context.vocabulary is None:
        raise PluginError("head 'continue': its output column is not of a vocabulary modality")
    return Continue(context.vocabulary, label_smoothing, {"max_new_tokens": max_new_tokens, "beams": beams})
