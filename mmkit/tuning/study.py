"""The study on disk: an Optuna journal in the output folder that a later run goes on with."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mmkit.errors import CheckpointError, MmkitError
from mmkit.spec.schema import Spec
from mmkit.spec.tune import Range, Tune, label
from mmkit.training.checkpoints import FREE, differences
from mmkit.wiring.variants import Dimension

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

JOURNAL = "study.journal"
REASON, STARTS = "reason", "starts"
MAY_CHANGE = (
    *(name for name in FREE if not name.startswith(("train.eval", "data.valid", "tune"))),
    *("tune.trials", "tune.seed", "tune.pruner", "tune.prune_after"),
)  # between two runs of one study


@dataclass(frozen=True)
class TrialResult:
    """One trial that has ended.

    Attributes:
        state: ``complete``, ``pruned`` (stopped early) or ``failed``. value: its best evaluation, where it has one.
        values: path in the spec → the value that it had. reason: why it failed.
    """

    number: int
    state: Literal["complete", "pruned", "failed"]
    value: float | None
    values: Mapping[str, Any]
    reason: str = ""


def require_optuna() -> Any:
    """The library.

    Raises:
        MmkitError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise MmkitError("mmkit tune needs Optuna, which is not installed: pip install 'mmkit[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class Trials:
    """The trials of one search, in the order in which they were begun.

    Args:
        settings: with a metric and a mode. spec: the one that is searched, with these settings.
    """

    def __init__(self, folder: Path, spec: Spec, settings: Tune, space: Sequence[Dimension]) -> None:
        self.optuna = require_optuna()
        self.settings, self.space = settings, space
        self.asked = {one.path: _distribution(self.optuna, one.range) for one in space}
        self.study = self._open(folder, spec.model_dump(mode="json"))

    def _open(self, folder: Path, spec: dict[str, Any]) -> "Study":
        """The study in the folder; a new one where there is none, or one that nothing came of yet.

        Raises:
            CheckpointError: trials of another spec lie there.
        """
        journal = folder / JOURNAL
        for _ in range(2):
            study = self._load(journal)
            there = study.user_attrs.get("spec", spec)
            found = differences(there, spec, MAY_CHANGE)
            if not found:
                break
            if any(trial.state.is_finished() for trial in study.trials):
                shown = "\n  ".join(found[:20])
                fix = "set these back, or search into another folder (--output)"
                raise CheckpointError(f"{journal} has trials of another spec:\n  {shown}\nfix: {fix}")
            journal.unlink()
        study.set_user_attr("spec", spec)
        if not study.trials:
            study.enqueue_trial({d.path: d.first if d.range.choice is None else label(d.first) for d in self.space})
        return study

    def _load(self, journal: Path) -> "Study":
        _mend(journal)
        storages = self.optuna.storages
        backend = storages.journal.JournalFileBackend(str(journal.resolve()))
        pruners = self.optuna.pruners
        pruner = pruners.MedianPruner(n_startup_trials=self.settings.prune_after, n_warmup_steps=0)
        return self.optuna.create_study(
            storage=storages.JournalStorage(backend),
            study_name="mmkit",
            direction="minimize" if self.settings.mode == "min" else "maximize",
            pruner=pruner if self.settings.pruner == "median" else pruners.NopPruner(),
            load_if_exists=True,
        )

    def begin(self) -> "Trial":
        """A trial that was interrupted, else the next one. What is tried does not depend on interruptions."""
        states = self.optuna.trial.TrialState
        trials = self.study.get_trials(deepcopy=False)
        number = sum(trial.state != states.WAITING for trial in trials)
        for old in trials:
            if old.state == states.RUNNING:
                number = old.number
        seed = np.random.SeedSequence([self.settings.seed, number]).generate_state(1)[0]
        self.study.sampler = self.optuna.samplers.TPESampler(seed=int(seed))
        for old in trials:
            if old.state == states.RUNNING:
                trial: Trial = self.optuna.trial.Trial(self.study, old._trial_id)
                for path, distribution in self.asked.items():
                    trial._suggest(path, distribution)
                return trial
        return self.study.ask(self.asked)

    def values(self, trial: "Trial | FrozenTrial") -> dict[str, Any]:
        """What a trial sets, by path."""
        return {one.path: _value(one.range, trial.params[one.path]) for one in self.space if one.path in trial.params}

    def complete(self, trial: "Trial") -> TrialResult:
        """Its value is that of its best evaluation."""
        reported = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values.values()
        return self._told(trial, (min if self.settings.mode == "min" else max)(reported))

    def pruned(self, trial: "Trial") -> TrialResult:
        """It was stopped early."""
        return self._told(trial, state=self.optuna.trial.TrialState.PRUNED)

    def failed(self, trial: "Trial", reason: str) -> TrialResult:
        """It has no value."""
        trial.set_user_attr(REASON, reason)
        return self._told(trial, state=self.optuna.trial.TrialState.FAIL)

    def _told(self, trial: "Trial", value: float | None = None, state: Any = None) -> TrialResult:
        return self._result(self.study.tell(trial, value, state=state))

    def ended(self) -> list[TrialResult]:
        """Every trial that has ended."""
        return [self._result(trial) for trial in self.study.trials if trial.state.is_finished()]

    def best(self) -> TrialResult | None:
        """The first one with the best value."""
        done = [trial for trial in self.ended() if trial.state == "complete" and trial.value is not None]
        sign = 1 if self.settings.mode == "min" else -1
        return min(done, key=lambda trial: (sign * (trial.value or 0.0), trial.number), default=None)

    def _result(self, trial: "FrozenTrial") -> TrialResult:
        states = self.optuna.trial.TrialState
        state: Literal["complete", "pruned", "failed"] = "failed"
        if trial.state != states.FAIL:
            state = "complete" if trial.state == states.COMPLETE else "pruned"
        value = None if state == "failed" else trial.value
        return TrialResult(trial.number, state, value, self.values(trial), trial.user_attrs.get(REASON, ""))


def _mend(journal: Path) -> None:
    """Cut off a last line that was never finished, and free the journal of a process that died; the caller is alone."""
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    if journal.is_file():
        whole = journal.read_bytes().rfind(b"\n") + 1
        os.truncate(journal, whole)


def _distribution(optuna: Any, given: Range) -> "BaseDistribution":
    kinds = optuna.distributions
    if given.choice is not None:
        return kinds.CategoricalDistribution(given.labels)
    kind = kinds.FloatDistribution if given.uniform or given.log_uniform else kinds.IntDistribution
    return kind(*given.bounds, log=given.log_uniform is not None or given.log_int is not None)


def _value(given: Range, stored: Any) -> Any:
    """What Optuna stores (of a choice its text) → the value of the spec."""
    return stored if given.choice is None else given.choice[given.labels.index(stored)]
