"""One trial: a training with other values, watched by the pruner, and what is left of it."""

import gc
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mmkit.errors import CheckpointError, DataError, SpecError
from mmkit.registry.registry import Registry
from mmkit.spec.load import Source
from mmkit.spec.tune import Tune
from mmkit.training.run import train
from mmkit.training.surroundings import Step
from mmkit.tuning.study import STARTS, TrialResult, Trials
from mmkit.wiring.graph import Plan
from mmkit.wiring.planner import plan

if TYPE_CHECKING:
    from optuna.trial import Trial

LOG = "train.log"
KEPT = ("logs", LOG)  # of a trial that is not the best
MOST_STARTS = 3


class _PrunedError(Exception):
    """The pruner has stopped the trial."""


class Runner:
    """Runs trials in ``<output>/trials/NNNN``.

    Args:
        spec: the spec of a trial. step: as in ``mmkit.train``.
    """

    def __init__(
        self,
        output: Path,
        trials: Trials,
        spec: Callable[["Trial"], Source],
        registry: Registry,
        step: Step | None,
    ) -> None:
        self.output, self.trials, self.spec, self.registry, self.step = output, trials, spec, registry, step

    def folder(self, number: int) -> Path:
        """Where a trial's model and log are."""
        return self.output / "trials" / f"{number:04d}"

    def run(self, trial: "Trial") -> TrialResult:
        """Train to the end, to the pruner's stop, or to a failure, which is recorded.

        Raises:
            SpecError, DataError: what is given is wrong; told by the first trial.
            CheckpointError: nothing can be written.
        """
        starts = trial.user_attrs.get(STARTS, 0) + 1
        if starts > MOST_STARTS:
            return self.trials.failed(trial, f"the process died in it {MOST_STARTS} times")
        trial.set_user_attr(STARTS, starts)
        reason = ""
        try:
            self._train(trial)
        except _PrunedError:
            return self.trials.pruned(trial)
        except CheckpointError:
            raise
        except Exception as error:
            wrong = isinstance(error, SpecError | DataError) and not self.trials.ended()
            if wrong:
                raise
            known = type(error).__module__.startswith("mmkit.")
            reason = str(error) if known else f"{type(error).__name__}: {error}"
        except BaseException:  # a signal: the trial goes on in the next run, and was not lost by its own fault
            trial.set_user_attr(STARTS, starts - 1)
            raise
        finally:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return self.trials.failed(trial, reason) if reason else self.trials.complete(trial)

    def _train(self, trial: "Trial") -> None:
        folder = self.folder(trial.number)
        folder.mkdir(parents=True, exist_ok=True)
        planned = plan(self.spec(trial), self.registry)
        with (folder / LOG).open("a", encoding="utf-8", buffering=1) as log:
            train(
                planned,
                output=folder,
                resume=True,
                say=partial(print, file=log),
                step=_Watch(trial, planned, self.trials.settings, self.step),
            )

    def tidy(self) -> None:
        """Of trials that have ended, only the best keeps its model."""
        best = self.trials.best()
        for ended in self.trials.ended():
            if best is None or ended.number != best.number:
                for path in self.folder(ended.number).glob("*"):
                    if path.name not in KEPT:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
            else:
                shutil.rmtree(self.folder(ended.number) / "checkpoints", ignore_errors=True)


class _Watch:
    """Reports every evaluation of a training to the study."""

    def __init__(self, trial: "Trial", planned: Plan, settings: Tune, step: Step | None) -> None:
        train = planned.spec.train
        assert train is not None
        self.stages = [stage.name for stage in train.stages]
        self.trial, self.step, self.at = trial, step, 0
        self.reported = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        self.figure = f"eval_{(settings.metric or '').replace('.', '_')}"

    def __call__(self, stage: str, at: int, of: int, figures: dict[str, float]) -> None:
        """As ``Step``.

        Raises:
            _PrunedError: the trial is not worth going on.
        """
        if self.step:
            self.step(stage, at, of, figures)
        if self.figure not in figures:
            return
        self.at = self.stages.index(stage, self.at)
        place = self.at * 10**6 + at  # the same in every trial, also in one that was interrupted
        if place not in self.reported:
            self.trial.report(figures[self.figure], place)
        if self.trial.should_prune():
            raise _PrunedError
