"""Classification: pooled features → one label, or any number of them."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mmkit import BuildContext, Loss, Metric, Ragged, SampleError, TaskHead
from mmkit_tasks.label_metrics import LabelScores
from mmkit_tasks.pooling import pool_items


class Labels:
    """The list of labels, and how a raw column is read with it."""

    def __init__(self, labels: Sequence[str | int], multi: bool) -> None:
        self.labels, self.multi = list(labels), multi

    def indices(self, raw: Any) -> list[int]:
        """Places of the labels of one raw value: exactly one, or any number (``multi``).

        Raises:
            SampleError: a label is not in the list.
        """
        if not self.multi:
            if isinstance(raw, list | tuple | set):
                raise SampleError(
                    f"one label is wanted, got {len(raw)} in a list; head.multi_label: true takes several"
                )
            return [self._index(raw)]
        if isinstance(raw, str):
            names = {str(label): number for number, label in enumerate(self.labels)}
            given = [part.strip() for part in raw.split("|") if part.strip()]
            return sorted({names[part] if part in names else self._index(part) for part in given})
        if not isinstance(raw, list | tuple | set):
            raise SampleError(f'a multi_label target is a list of labels or a string "a|b", got {type(raw).__name__}')
        return sorted({self._index(part) for part in raw})

    def _index(self, raw: Any) -> int:
        if isinstance(raw, str | int) and raw in self.labels:
            return self.labels.index(raw)
        close = get_close_matches(str(raw), [str(label) for label in self.labels], n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"listed: {', '.join(map(str, self.labels[:20]))}"
        raise SampleError(f"label {raw!r} is not in the head's labels; {hint}")


class Classify(TaskHead):
    """Softmax cross-entropy; one sigmoid for the second label (``binary``); one sigmoid a label (``multi_label``)."""

    def __init__(
        self,
        dim: int,
        labels: Labels,
        how: str,
        binary: bool,
        dropout: float,
        class_weights: Sequence[float] | None,
        label_smoothing: float,
        threshold: float,
    ) -> None:
        super().__init__()
        self.labels, self.indices, self.how = labels.labels, labels.indices, how
        self.kind = "binary" if binary else "multilabel" if labels.multi else "multiclass"
        self.label_smoothing, self.threshold = label_smoothing, threshold
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(dim, 1 if binary else len(self.labels))
        self.class_weights = class_weights

    def target(self, raw: Any) -> Int[Tensor, " n"]:
        """The label's place in the list; for ``multi_label`` a 0 or 1 for every label."""
        indices = self.indices(raw)
        if self.kind != "multilabel":
            return torch.tensor(indices)
        hot = torch.zeros(len(self.labels), dtype=torch.int64)
        hot[indices] = 1
        return hot

    def _logits(self, features: Sequence[Ragged]) -> Float[Tensor, "items outputs"]:
        return self.output(self.dropout(pool_items(features[0], self.how))).float()

    def loss(self, features: Sequence[Ragged], targets: Ragged) -> Loss:
        """Summed over samples; for ``multi_label`` of the mean over labels."""
        logits = self._logits(features)
        weights = None if self.class_weights is None else logits.new_tensor(self.class_weights)
        if self.kind == "multiclass":
            total = functional.cross_entropy(
                logits, targets.values, weight=weights, reduction="sum", label_smoothing=self.label_smoothing
            )
            return Loss(total, len(targets))
        wanted = targets.values.to(logits.dtype).view(len(targets), -1)
        if self.kind == "binary":
            each = None if weights is None else weights[targets.values][:, None]
            losses = functional.binary_cross_entropy_with_logits(logits, wanted, weight=each, reduction="none")
        else:
            losses = functional.binary_cross_entropy_with_logits(logits, wanted, pos_weight=weights, reduction="none")
        return Loss(losses.mean(-1).sum(), len(targets))

    def predict(self, features: Sequence[Ragged]) -> list[Any]:
        """``{"label" | "labels": …, "probabilities": {label: probability}}`` of each sample."""
        probabilities = self._probabilities(self._logits(features))
        return [self._prediction(row) for row in probabilities.cpu().tolist()]

    def _probabilities(self, logits: Float[Tensor, "items outputs"]) -> Float[Tensor, "items labels"]:
        if self.kind == "binary":
            yes = logits[:, 0].sigmoid()
            return torch.stack([1 - yes, yes], dim=1)
        return logits.sigmoid() if self.kind == "multilabel" else logits.softmax(-1)

    def asked(self, target: Any) -> tuple[str, list[int]]:
        """Of one label its place; of a prediction with several labels, all of their places.

        Raises:
            SampleError: the label is not in the list; or a prediction without any.
        """
        if isinstance(target, dict):
            target = target["labels"] if "labels" in target else target["label"]
        if isinstance(target, str):  # as it is typed: a label may be a number
            target = next((label for label in self.labels if str(label) == target), target)
        places = self.indices(target)
        if not places:
            raise SampleError("no label was predicted; say which one is asked for, with target")
        named = " and ".join(repr(self.labels[place]) for place in places)
        return f"log-odds of {named}", places

    def score(self, features: Sequence[Ragged], wanted: list[int]) -> Float[Tensor, " items"]:
        """Log-odds, log p / (1 - p), of the label: unlike p they do not saturate. Summed where several are asked for."""
        logits = self._logits(features)
        if self.kind == "binary":
            return logits[:, 0] * (1 if wanted == [1] else -1)
        if self.kind == "multilabel":
            return logits[:, wanted].sum(-1)
        others = [place for place in range(len(self.labels)) if place not in wanted]
        return logits[:, wanted[0]] - logits[:, others].logsumexp(-1) if others else logits[:, wanted[0]]

    def outputs(self, features: Sequence[Ragged]) -> dict[str, Tensor | Ragged]:
        """``logits``: Float["items outputs"], one a label; of ``binary`` one for the second label. ``probabilities``:
        Float["items labels"]."""
        logits = self._logits(features)
        return {"logits": logits, "probabilities": self._probabilities(logits)}

    def _prediction(self, row: list[float]) -> dict[str, Any]:
        labels = self.labels
        named = {str(label): p for label, p in zip(labels, row, strict=True)}
        if self.kind == "multilabel":
            chosen = [label for label, p in zip(labels, row, strict=True) if p > self.threshold]
            return {"labels": chosen, "probabilities": named}
        best = int(row[1] > self.threshold) if self.kind == "binary" else max(range(len(row)), key=row.__getitem__)
        return {"label": labels[best], "probabilities": named}

    def answer_schema(self) -> Mapping[str, Any]:
        """The listed labels and a number for each."""
        listed = {"enum": list(self.labels)}
        chosen = {"labels": {"type": "array", "items": listed}} if self.kind == "multilabel" else {"label": listed}
        numbers = {str(label): {"type": "number", "minimum": 0, "maximum": 1} for label in self.labels}
        both = {**chosen, "probabilities": {"type": "object", "properties": numbers, "required": list(numbers)}}
        return {"type": "object", "properties": both, "required": list(both)}

    def metrics(self) -> list[Metric]:
        """Accuracy, F1 and AUROC."""
        return [LabelScores(self.kind, len(self.labels), self.indices, self.threshold)]


def build(
    context: BuildContext,
    *,
    labels: list[str | int],
    pool: str,
    binary: bool,
    multi_label: bool,
    dropout: float,
    class_weights: list[float] | None,
    label_smoothing: float,
    threshold: float,
) -> Classify:
    """A classifier over the node it reads."""
    known = Labels(labels, multi_label)
    return Classify(context.dims[0], known, pool, binary, dropout, class_weights, label_smoothing, threshold)
