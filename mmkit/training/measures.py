"""Metrics and callbacks that a spec names beside the model, made and checked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmkit.errors import MmkitError, PluginError
from mmkit.interfaces import BuildContext, Metric, RunContext
from mmkit.model.model import Model
from mmkit.wiring.graph import Placed


def figures(model: Model, task: str, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    """The head's metrics, and those that the task names.

    Raises:
        PluginError: a metric fails, or gives a figure that another one gives too.
    """
    found: dict[str, float] = {}
    for metric in model.parts.heads[task].metrics():
        metric.update(predictions, references)
        found.update(metric.compute())
    output = model.plan.tasks[task].output_modality or ""
    context = BuildContext(vocabulary=model.vocabularies.get(output), continuous=model.parts.continuous.get(output))
    for index in range(len(model.plan.spec.tasks[task].metrics)):
        placed = model.plan.beside_at(("tasks", task, "metrics", index))
        given = _measured(placed, _made(placed, context, Metric), predictions, references)
        twice = sorted(set(given) & set(found))
        if twice:
            raise PluginError(
                f"{_who(placed)} gives {twice[0]!r}, which task {task!r} has already; leave one of them out"
            )
        found.update(given)
    return found


def _measured(placed: Placed, metric: Any, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
    try:
        metric.update(predictions, references)
        given = metric.compute()
    except MmkitError:
        raise
    except Exception as error:
        raise PluginError(f"{_who(placed)} fails: {type(error).__name__}: {error}") from error
    if not isinstance(given, Mapping) or not all(isinstance(value, int | float) for value in given.values()):
        raise PluginError(f"{_who(placed)} gives {given!r}, wanted are named numbers")
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
