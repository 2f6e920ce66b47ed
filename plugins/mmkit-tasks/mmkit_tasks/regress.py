"""Regression: pooled features → one or several numbers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mmkit import BuildContext, Loss, Metric, Ragged, SampleError, TaskHead
from mmkit_tasks.label_metrics import NumberScores
from mmkit_tasks.pooling import pool_items


class Regress(TaskHead):
    """A linear layer that predicts ``(target - mean) / std``."""

    def __init__(
        self,
        dim: int,
        scale: tuple[Sequence[float], Sequence[float]],
        how: str,
        loss_name: str,
        huber_delta: float,
        bounds: tuple[float, float] | None,
        dropout: float,
    ) -> None:
        super().__init__()
        self.dims = len(scale[0])
        self.how, self.loss_name, self.huber_delta, self.bounds = how, loss_name, huber_delta, bounds
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(dim, self.dims)
        # Not buffers: a model moved to bfloat16 would round them.
        self.mean, self.std = list(scale[0]), list(scale[1])

    def target(self, raw: Any) -> Float[Tensor, " dims"]:
        """The numbers as they are; normalisation happens in the loss.

        Raises:
            SampleError: not ``dims`` finite numbers, or outside the bounds.
        """
        values = list(raw) if isinstance(raw, list | tuple) else [raw]
        if len(values) != self.dims or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
            wanted = "a number" if self.dims == 1 else f"a list of {self.dims} numbers"
            raise SampleError(f"a regression target must be {wanted}, got {raw!r}")
        for value in values:
            if not math.isfinite(value):
                raise SampleError(f"a regression target must be finite, got {raw!r}")
            if self.bounds is not None and not self.bounds[0] <= value <= self.bounds[1]:
                raise SampleError(
                    f"target {value} is outside the head's bounds [{self.bounds[0]}, {self.bounds[1]}]; "
                    "correct the row, or widen head.bounds"
                )
        return torch.tensor(values, dtype=torch.float32)

    def _normalised(self, features: Sequence[Ragged]) -> Float[Tensor, "items dims"]:
        return self.output(self.dropout(pool_items(features[0], self.how))).float()

    def loss(self, features: Sequence[Ragged], targets: Ragged) -> Loss:
        """Summed over samples, of the mean over dimensions, in units of ``std``."""
        got = self._normalised(features)
        wanted = targets.values.float().view(len(targets), self.dims)
        wanted = (wanted - got.new_tensor(self.mean)) / got.new_tensor(self.std)
        if self.loss_name == "huber":
            losses = functional.huber_loss(got, wanted, reduction="none", delta=self.huber_delta)
        elif self.loss_name == "mae":
            losses = functional.l1_loss(got, wanted, reduction="none")
        else:
            losses = functional.mse_loss(got, wanted, reduction="none")
        return Loss(losses.mean(-1).sum(), len(targets))

    def predict(self, features: Sequence[Ragged]) -> list[Any]:
        """A number (``dims`` 1) or a list of numbers of each sample, in the units of the data."""
        rows = self._values(features).cpu().tolist()
        return [row[0] for row in rows] if self.dims == 1 else rows

    def outputs(self, features: Sequence[Ragged]) -> dict[str, Tensor | Ragged]:
        """``values``: Float["items dims"], in the units of the data."""
        return {"values": self._values(features)}

    def _values(self, features: Sequence[Ragged]) -> Float[Tensor, "items dims"]:
        values = self._normalised(features)
        values = values * values.new_tensor(self.std) + values.new_tensor(self.mean)
        return values if self.bounds is None else values.clamp(*self.bounds)

    def answer_schema(self) -> Mapping[str, Any]:
        """A number, or a list of ``dims`` numbers."""
        number = {"type": "number"}
        return (
            number
            if self.dims == 1
            else {"type": "array", "items": number, "minItems": self.dims, "maxItems": self.dims}
        )

    def asked(self, target: Any) -> tuple[str, int]:
        """The number; of several, the one of this place, by default the first.

        Raises:
            SampleError: there is no such place.
        """
        if self.dims == 1 or isinstance(target, list | float):
            return ("the value" if self.dims == 1 else "value 0"), 0
        if not str(target).isdigit() or int(target) >= self.dims:
            raise SampleError(
                f"the head gives {self.dims} numbers; target is a place from 0 to {self.dims - 1}, got {target!r}"
            )
        return f"value {int(target)}", int(target)

    def score(self, features: Sequence[Ragged], wanted: int) -> Float[Tensor, " items"]:
        """The value in the units of the data, before it is held to the bounds."""
        return self._normalised(features)[:, wanted] * self.std[wanted] + self.mean[wanted]

    def metrics(self) -> list[Metric]:
        """MAE, RMSE and Pearson's r."""
        return [NumberScores()]


def build(
    context: BuildContext,
    *,
    dims: int,
    pool: str,
    loss: str,
    huber_delta: float,
    mean: float | list[float],
    std: float | list[float],
    bounds: tuple[float, float] | None,
    dropout: float,
) -> Regress:
    """A regressor over the node it reads."""
    means = mean if isinstance(mean, list) else [mean] * dims
    stds = std if isinstance(std, list) else [std] * dims
    return Regress(context.dims[0], (means, stds), pool, loss, huber_delta, bounds, dropout)
