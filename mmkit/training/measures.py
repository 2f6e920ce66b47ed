"""Metrics and callbacks that a spec names beside the model, made and checked."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmkit.errors import DataError, MmkitError, PluginError, nearest
from mmkit.interfaces import BuildContext, Metric, RowMetric, RunContext
from mmkit.model.model import Model
from mmkit.wiring.graph import Placed


class Measures:
    """The metrics of a task, for one evaluation: those of its head, and those that the task names.

    Raises:
        PluginError: one cannot be made.
    """

    def __init__(self, model: Model, task: str) -> None:
        self.task = task
        output = model.plan.tasks[task].output_modality or ""
        vocabulary, continuous = model.vocabularies.get(output), model.parts.continuous.get(output)
        context = BuildContext(vocabulary=vocabulary, continuous=continuous)
        self.own = model.parts.heads[task].metrics()
        places = [("tasks", task, "metrics", index) for index in range(len(model.plan.spec.tasks[task].metrics))]
        placed = [model.plan.beside_at(place) for place in places]
        self.named = [(_who(one), _made(one, context, Metric)) for one in placed]

    @property
    def columns(self) -> list[str]:
        """Columns of the rows that they want beside the output."""
        return list(dict.fromkeys(column for _, column in self._wanted()))

    def _wanted(self) -> Iterator[tuple[str, str]]:
        for who, metric in [
            (f"a metric of the head of task {self.task!r}", metric) for metric in self.own
        ] + self.named:
            if isinstance(metric, RowMetric):
                yield from ((who, column) for column in metric.row_columns)

    def check(self, name: str, have: Sequence[str]) -> None:
        """Before anything is predicted.

        Args:
            name: of the rows. have: their columns.

        Raises:
            DataError: a metric wants another column.
        """
        for who, column in self._wanted():
            if column not in have:
                message = f"{who} needs column {column!r}, which {name} does not have"
                raise DataError(f"{message}: {nearest(column, have)}")

    def figures(
        self, predictions: Sequence[Any], references: Sequence[Any], rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """All figures.

        Args:
            rows: the columns that the metrics want, of each prediction's row.

        Raises:
            PluginError: a metric fails, or gives a figure that another one gives too.
        """
        found: dict[str, float] = {}
        for metric in self.own:
            _update(metric, predictions, references, rows)
            found.update(metric.compute())
        for who, metric in self.named:
            given = _measured(who, metric, predictions, references, rows)
            twice = sorted(set(given) & set(found))
            if twice:
                message = f"{who} gives {twice[0]!r}, which task {self.task!r} has already"
                raise PluginError(f"{message}; leave one of them out")
            found.update(given)
        return found


def _update(
    metric: Any, predictions: Sequence[Any], references: Sequence[Any], rows: Sequence[Mapping[str, Any]]
) -> None:
    if isinstance(metric, RowMetric):
        wanted = [{column: row[column] for column in metric.row_columns} for row in rows]
        metric.update(predictions, references, wanted)
    else:
        metric.update(predictions, references)


def _measured(
    who: str, metric: Any, predictions: Sequence[Any], references: Sequence[Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    try:
        _update(metric, predictions, references, rows)
        given = metric.compute()
    except MmkitError:
        raise
    except Exception as error:
        raise PluginError(f"{who} fails: {type(error).__name__}: {error}") from error
    if not isinstance(given, Mapping) or not all(isinstance(value, int | float) for value in given.values()):
        raise PluginError(f"{who} gives {given!r}, wanted are named numbers")
    return {name: float(value) for name, value in given.items()}


def callbacks(model: Model, output: Path, first: bool) -> list[Any]:
    """The callbacks of ``train.callbacks``, in their order.

    Raises:
        PluginError: one cannot be made, or is no ``transformers.TrainerCallback``.
    """
    from transformers import TrainerCallback

    settings = model.plan.spec.train
    places = [("train", "callbacks", index) for index in range(len(settings.callbacks) if settings else 0)]
    context = RunContext(output, model, first)
    return [_made(model.plan.beside_at(place), context, TrainerCallback) for place in places]


def _made(placed: Placed, context: Any, wanted: type) -> Any:
    try:
        made = placed.build(context)
    except MmkitError:
        raise
    except Exception as error:
        raise PluginError(f"{_who(placed)} cannot be made: {type(error).__name__}: {error}") from error
    if not isinstance(made, wanted):
        raise PluginError(f"{_who(placed)} is a {type(made).__name__}, wanted is a {wanted.__name__}")
    return made


def _who(placed: Placed) -> str:
    return f"{placed.component.kind} {placed.component.full_name!r}"
