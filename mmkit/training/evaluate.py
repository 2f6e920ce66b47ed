"""``mmkit.evaluate``: losses and metrics on held-out rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mmkit.data.cache.use import feature_caches
from mmkit.data.loading import Quarantine, loader, open_all
from mmkit.data.sources import Rows
from mmkit.model.checkpoint import load
from mmkit.model.generate import predict_batch
from mmkit.model.model import Model
from mmkit.spec.schema import Data
from mmkit.training.stages import untrained_encoders


@dataclass
class TaskResult:
    """Figures of one task, and every prediction beside its reference.

    Attributes:
        metrics: the mean loss, the head's metrics, and ``bad_rows`` where rows were skipped.
        predictions: one a row, as ``Model.predict`` gives them.
        references: the rows' output column.
        addresses: where each row came from, ``file:row``.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    predictions: list[Any] = field(default_factory=list)
    references: list[Any] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)


def evaluate(
    model: "Model | str | Path",
    part: str = "test",
    *,
    batch_size: int = 64,
    limit: int | None = None,
    step: Callable[[str, int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, TaskResult]:
    """Predict all held-out rows of every task and compute its metrics.

    Args:
        model: a model or the folder of a saved one.
        part: ``test``, ``valid`` or ``train`` of the spec's data.
        limit: most rows a source.
        step: receives (task, rows done, rows). say: receives one line of text at a time.

    Raises:
        DataError: the spec names no such data, or too many rows are bad.
    """
    if not isinstance(model, Model):
        model = load(model)
    model.eval()
    with feature_caches(model, untrained_encoders(model), say=say):
        return evaluate_rows(model, open_all(model.plan, part), batch_size=batch_size, limit=limit, step=step)


@torch.no_grad()
def evaluate_rows(
    model: Model,
    sources: Sequence[Rows],
    *,
    batch_size: int = 64,
    limit: int | None = None,
    step: Callable[[str, int, int], None] | None = None,
) -> dict[str, TaskResult]:
    """The same over sources that are open; the model is left in evaluation mode."""
    model.eval()
    results: dict[str, TaskResult] = {}
    data = model.plan.spec.data or Data()
    for rows in sources:
        if limit is not None:
            rows = rows.first(limit)
        task = rows.given.task
        result = results.setdefault(task, TaskResult())
        quarantine = Quarantine(data.max_bad)
        total, count, done = 0.0, 0, 0
        for cpu_batch in loader(model, [rows], batch_size):
            quarantine.add(cpu_batch)
            if not cpu_batch.tasks:
                continue
            batch = cpu_batch.to(model.device)
            value, number = model(batch)["losses"][task]
            total, count = total + float(value), count + number
            result.predictions += predict_batch(model, task, batch)
            result.references += batch.references
            result.addresses += batch.addresses
            done += len(batch.tasks)
            if step:
                step(task, done, done if rows.given.streaming else len(rows))
        quarantine.close()
        result.metrics["loss"] = total / max(1, count)
        if quarantine.bad:
            result.metrics["bad_rows"] = len(quarantine.bad)
    for task, result in results.items():
        for metric in model.parts.heads[task].metrics():
            metric.update(result.predictions, result.references)
            result.metrics.update(metric.compute())
    return results
