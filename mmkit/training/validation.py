"""Evaluation on ``data.valid`` while training, and which evaluation's model is kept."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal

import torch

from mmkit.data.loading import open_all
from mmkit.data.sources import Rows
from mmkit.errors import SpecError, TrainingError, nearest
from mmkit.model.model import Model
from mmkit.spec.schema import KeepBest, Train
from mmkit.training.evaluate import evaluate_rows
from mmkit.training.parallel.ranks import Ranks

LOWER = ("loss", "wer", "cer", "ter", "mae", "rmse", "mse", "perplexity", "distance", "mcd")
"""Last words of the names of figures of which less is better: ``wer``, ``judged_wer``, ``frechet_distance``."""


def mode_of(metric: str, mode: Literal["min", "max"] | None) -> Literal["min", "max"]:
    """Whether less or more of a metric is better, where it is not said."""
    return mode or ("min" if re.split(r"[._]", metric)[-1] in LOWER else "max")


class Validation:
    """Evaluates the model as it stands.

    Args:
        save: keeps the model; called when an evaluation is the best so far. ranks: share the rows.
    """

    def __init__(
        self, model: Model, settings: Train, say: Callable[[str], None], save: Callable[[], object], ranks: Ranks
    ) -> None:
        self.model, self.settings, self.say, self.save, self.ranks = model, settings, say, save, ranks
        self.sources: Sequence[Rows] = open_all(model.plan, "valid")
        self.best: dict[str, Any] | None = None

    def rehearse(self) -> None:
        """Two rows of each source, so that what is wrong with them or with ``keep_best`` shows before the training.

        Raises:
            SpecError: ``keep_best`` names no metric of the model.
        """
        figures = self._figures(2)
        if self.settings.keep_best:
            self._value(self.settings.keep_best, figures)

    def __call__(self, stage: int, step: int) -> dict[str, float]:
        """Figures by ``task_metric``, and ``loss`` over all tasks; reported, and compared with the best so far."""
        figures = self._figures(self.settings.eval_limit)
        name = self.settings.stages[stage].name
        shown = "  ".join(f"{task}.{key} {value:.4g}" for (task, key), value in figures.items())
        self.say(f"stage {name}  step {step}  valid: {shown}")
        if self.settings.keep_best:
            self._compare(self.settings.keep_best, figures, stage, step)
        return {"loss": self._loss(figures), **{f"{task}_{key}": value for (task, key), value in figures.items()}}

    def _figures(self, limit: int | None) -> dict[tuple[str, str], float]:
        autocast = self.settings.precision == "bf16"
        kind = self.model.device.type
        with (
            torch.random.fork_rng(),
            torch.autocast(kind, dtype=torch.bfloat16) if autocast else nullcontext(),
        ):
            results = evaluate_rows(self.model, self.sources, limit=limit, ranks=self.ranks)
        return {(task, key): value for task, result in results.items() for key, value in result.metrics.items()}

    def _compare(self, wanted: KeepBest, figures: Mapping[tuple[str, str], float], stage: int, step: int) -> None:
        value = self._value(wanted, figures)
        if value != value:
            raise TrainingError(f"keep_best: {wanted.metric} is not a number at step {step}")
        less = mode_of(wanted.metric, wanted.mode) == "min"
        if self.best is None or (value < self.best["value"] if less else value > self.best["value"]):
            self.best = {"value": value, "stage": stage, "step": step}
            self.save()
            self.say(f"kept: best {wanted.metric} so far, {value:.4g}")

    def _value(self, wanted: KeepBest, figures: Mapping[tuple[str, str], float]) -> float:
        if wanted.metric == "loss":
            return self._loss(figures)
        named = {f"{task}.{key}": value for (task, key), value in figures.items()}
        if wanted.metric not in named:
            message = f"there is no metric {wanted.metric!r} on data.valid: {nearest(wanted.metric, ['loss', *named])}"
            raise SpecError([self.model.plan.source.problem(("train", "keep_best"), message)])
        return named[wanted.metric]

    def _loss(self, figures: Mapping[tuple[str, str], float]) -> float:
        tasks = self.model.plan.tasks
        return sum(tasks[task].weight * value for (task, key), value in figures.items() if key == "loss")

    def state_dict(self) -> dict[str, Any] | None:
        """The best so far."""
        return self.best

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Go on from there."""
        self.best = state
