"""Generation: the output column's ids, one after another."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from mmkit import (
    BuildContext,
    Grammar,
    Loss,
    Metric,
    PluginError,
    Ragged,
    SampleError,
    Scores,
    TaskHead,
    VocabularyAdapter,
)
from mmkit_tasks.metrics import OnlyText, text_metrics


class Generate(TaskHead):
    """Cross-entropy of teacher-forced ids; decodes what the backbone generated. Has no weights.

    A column that is a list of texts holds several references: the first is taught, all count in the metrics.
    """

    autoregressive = True

    def __init__(
        self,
        vocabulary: VocabularyAdapter,
        max_length: int | None,
        truncate: bool,
        label_smoothing: float,
        metric_names: Sequence[str] | None,
        bleu_tokenize: str,
        decoding: Mapping[str, Any],
        input_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.vocabulary, self.input_dropout = vocabulary, input_dropout
        self.streams = vocabulary.streams if isinstance(vocabulary, Grammar) else 1
        self.max_length, self.truncate, self.label_smoothing = max_length, truncate, label_smoothing
        self.metric_names, self.bleu_tokenize, self.decoding = metric_names, bleu_tokenize, dict(decoding)

    def target(self, raw: Any) -> Int[Tensor, " n"]:
        """Ids and the end id.

        Raises:
            SampleError: the value cannot be encoded, or is longer than ``max_length``.
        """
        if isinstance(raw, list) and raw and all(isinstance(text, str) for text in raw):
            raw = raw[0]
        ids = [*self.vocabulary.encode(raw), *[self.vocabulary.end_id] * self.streams]
        if self.max_length is not None and len(ids) > self.max_length:
            if not self.truncate:
                raise SampleError(
                    f"the target has {len(ids)} ids with its end id, at most {self.max_length} are allowed "
                    "(head.max_length); head.truncate: true would cut it"
                )
            ids = ids[: self.max_length]
        return torch.tensor(ids, dtype=torch.int64)

    def loss(self, features: Sequence[Ragged], targets: Ragged) -> Loss:
        """Summed over target ids; ``features`` is ``[scores]``."""
        scores = features[0]
        assert isinstance(scores, Scores)
        return Loss(scores.cross_entropy(targets, self.label_smoothing), int(targets.values.shape[0]))

    def predict(self, features: Sequence[Ragged]) -> list[Any]:
        """Decode the generated ids of each sample."""
        return [self.vocabulary.decode(ids.tolist()) for ids in features[0].split()]

    def options(self) -> Mapping[str, Any]:
        """Decoding options of the config."""
        return self.decoding

    def metrics(self) -> list[Metric]:
        """Those of the config; by default BLEU, chrF and exact match, which skip outputs that are not text."""
        if self.metric_names is None:
            return [OnlyText(metric) for metric in text_metrics(["bleu", "chrf", "exact"], self.bleu_tokenize)]
        return text_metrics(self.metric_names, self.bleu_tokenize)


def build(
    context: BuildContext,
    *,
    max_length: int | None,
    truncate: bool,
    label_smoothing: float,
    input_dropout: float,
    max_new_tokens: int | None,
    beams: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    length_penalty: float,
    guidance: float,
    seed: int,
    metrics: list[str] | None,
    bleu_tokenize: str,
) -> Generate:
    """A generator of the output column."""
    if context.vocabulary is None:
        raise PluginError("head 'generate': its output column is not of a vocabulary modality; see columns in the task")
    decoding = {
        "max_new_tokens": max_new_tokens,
        "beams": beams,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "length_penalty": length_penalty,
        "guidance": guidance,
        "seed": seed,
    }
    return Generate(
        context.vocabulary, max_length, truncate, label_smoothing, metrics, bleu_tokenize, decoding, input_dropout
    )
