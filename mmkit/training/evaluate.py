"""``mmkit.evaluate``: losses and metrics on held-out rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from mmkit.data.cache.use import feature_caches
from mmkit.data.loading import Quarantine, loader, open_all
from mmkit.data.sources import Rows
from mmkit.errors import MmkitError
from mmkit.model.checkpoint import load
from mmkit.model.generate import predict_batch, seeds_of_rows
from mmkit.model.model import Model
from mmkit.spec.schema import Data
from mmkit.training.measures import Measures
from mmkit.training.parallel.ranks import Ranks
from mmkit.training.stages import untrained_encoders


@dataclass
class TaskResult:
    """Figures of one task, and every prediction beside its reference.

    Attributes:
        metrics: the mean loss, the head's metrics, and ``bad_rows`` where rows were skipped.
        predictions: one a row, as ``Model.predict`` gives them.
        references: the rows' output column, a path of media in it resolved.
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


@dataclass
class _Seen:
    """What one rank has of one source: prediction, reference, address and kept columns of its rows, and their loss."""

    found: list[tuple[Any, Any, str, Mapping[str, Any]]] = field(default_factory=list)
    quarantine: Quarantine = field(default_factory=lambda: Quarantine(1.0))
    total: float = 0.0
    count: int = 0


def _see(
    model: Model,
    rows: Rows,
    batch_size: int,
    step: Callable[[str, int, int], None] | None,
    ranks: Ranks,
    seen: _Seen,
    columns: Sequence[str],
) -> None:
    task = rows.given.task
    batches = loader(model, [rows], batch_size, rank=ranks.rank, world=ranks.world)
    batches.preparation.keep(columns)
    seen.quarantine.limit = (model.plan.spec.data or Data()).max_bad
    for cpu_batch in batches:
        seen.quarantine.add(cpu_batch)
        if not cpu_batch.tasks:
            continue
        batch = cpu_batch.to(model.device)
        value, number = model(batch)["losses"][task]
        seen.total, seen.count = seen.total + float(value), seen.count + number
        numbers = range(len(seen.found), len(seen.found) + len(batch.tasks))
        seeds = seeds_of_rows(model.parts.heads[task], [ranks.rank + ranks.world * number for number in numbers])
        answers = predict_batch(model, task, batch, **seeds)
        seen.found += zip(answers, batch.references, batch.addresses, batch.columns, strict=True)
        if step:
            step(task, len(seen.found), len(seen.found) if rows.given.streaming else len(rows))


def _in_turn(shares: Sequence[Sequence[Any]]) -> Iterator[Any]:
    """Rank 0's first, rank 1's first, …: the order of the rows, unless bad ones were left out."""
    for round_ in zip_longest(*shares, fillvalue=_NONE):
        yield from (one for one in round_ if one is not _NONE)


_NONE = object()


@torch.no_grad()
def evaluate_rows(
    model: Model,
    sources: Sequence[Rows],
    *,
    batch_size: int = 64,
    limit: int | None = None,
    step: Callable[[str, int, int], None] | None = None,
    ranks: Ranks = Ranks(),  # noqa: B008
) -> dict[str, TaskResult]:
    """The same over sources that are open; the model is left in evaluation mode.

    Args:
        ranks: share the rows of every source; each of them gets all results.
    """
    model.eval()
    results: dict[str, TaskResult] = {}
    measures = {task: Measures(model, task) for task in dict.fromkeys(rows.given.task for rows in sources)}
    kept: dict[str, list[Mapping[str, Any]]] = {task: [] for task in measures}
    for rows in sources:
        if rows.rows.column_names:
            names = [rows.given.rename.get(name, name) for name in rows.rows.column_names]
            measures[rows.given.task].check(rows.name, names)
    for rows in sources:
        task = rows.given.task
        if limit is not None:
            rows = rows.first(limit)
        seen, error = _Seen(), None
        try:
            _see(model, rows, batch_size, step, ranks, seen, measures[task].columns)
        except MmkitError as caught:
            error = caught
        total, count = ranks.agree([seen.total, seen.count], error)
        shares = ranks.gather((seen.found, seen.quarantine))
        result = results.setdefault(task, TaskResult())
        for prediction, reference, address, columns in _in_turn([found for found, _ in shares]):
            result.predictions.append(prediction)
            result.references.append(reference)
            result.addresses.append(address)
            kept[task].append(columns)
        quarantine = Quarantine.joined([quarantine for _, quarantine in shares])
        quarantine.close()
        result.metrics["loss"] = total / max(1, count)
        if quarantine.bad:
            result.metrics["bad_rows"] = len(quarantine.bad)
    for task, result in results.items():
        result.metrics.update(measures[task].figures(result.predictions, result.references, kept[task]))
    return results
