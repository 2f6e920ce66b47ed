"""``mmkit.tune``: a search over values of a spec, from the beginning or from where it was left."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mmkit.discovery.loader import discover
from mmkit.errors import MmkitError, SpecError, TrainingError, nearest
from mmkit.spec.load import Source
from mmkit.spec.paths import put
from mmkit.spec.tune import Tune
from mmkit.training.surroundings import Say, Step
from mmkit.training.validation import mode_of
from mmkit.tuning.best import write_best
from mmkit.tuning.study import TrialResult, Trials, require_optuna
from mmkit.tuning.trial import LOG, Runner
from mmkit.wiring.graph import Plan
from mmkit.wiring.planner import plan
from mmkit.wiring.variants import check_ends, dimensions, setting, short, variant


@dataclass(frozen=True)
class TuneResult:
    """What a search has found.

    Attributes:
        metric: what was searched for. trials: all, in their order. best: the one with the best value.
        spec: the file with the best trial's spec. model: the folder of its model.
    """

    metric: str
    trials: tuple[TrialResult, ...]
    best: TrialResult
    spec: Path
    model: Path


def tune(
    spec: "str | os.PathLike[str] | Mapping[str, Any]",
    *,
    output: str | Path | None = None,
    trials: int | None = None,
    metric: str | None = None,
    seed: int | None = None,
    say: Say = print,
    step: Step | None = None,
) -> TuneResult:
    """Train the spec again and again with other values of the paths that its ``tune`` section names; needs Optuna.

    The first trial is the spec as it is, where its values lie in their ranges. What is there already of a search of the
    same spec in the same folder is gone on with: an interrupted trial first, then new ones up to the number of trials,
    with the values that they would have had.

    Args:
        spec: path of a YAML/JSON file, or a mapping.
        output: folder of the search; default ``train.output`` with ``-tune`` after it.
        trials: in place of the spec's number.
        metric: in place of the spec's.
        seed: in place of the spec's.
        say: receives one line of text at a time. step: as in ``mmkit.train``, and with ``trials`` for a stage.

    Raises:
        SpecError, DataError: before anything is trained.
        TrainingError: every trial has failed.
        CheckpointError: nothing can be written, or the folder has trials of another spec.
        MmkitError: Optuna is not installed, or another process searches into this folder.
    """
    require_optuna()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise MmkitError("mmkit tune runs in one process; start it without torchrun or accelerate launch")
    planned = plan(spec, discover())
    check_ends(planned, discover(), static=False)
    settings = _settings(planned, trials, metric, seed)
    planned = replace(planned, spec=planned.spec.model_copy(update={"tune": settings}))
    train = planned.spec.train
    assert train is not None  # _settings has seen to it
    folder = Path(output or f"{train.output}-tune")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            return _Search(planned, settings, folder, say, step).run()
    except Timeout:
        raise MmkitError(f"another process searches into {folder}; wait for it, or give another --output") from None


def _settings(planned: Plan, trials: int | None, metric: str | None, seed: int | None) -> Tune:
    """What the spec says, and what was said in its place.

    Raises:
        SpecError: no section to search, nothing to evaluate on, or a metric of no task.
    """
    spec, problems = planned.spec, []
    if spec.train is None:
        problems.append(planned.source.problem((), "the spec has no train section", "add train: {stages: [...]}"))
    if spec.tune is None:
        fix = 'add tune: {"train.stages[0].lr": {log_uniform: [1.0e-4, 1.0e-2]}}'
        problems.append(planned.source.problem((), "the spec has no tune section", fix))
    if spec.data is None or not spec.data.valid:
        message = "tune needs rows to evaluate on, and the spec names no data.valid"
        fix = "add data: {valid: [{task: …, path: …}]}"
        problems.append(planned.source.problem(("tune",), message, fix))
    if spec.train is None or spec.tune is None or spec.data is None or problems:
        raise SpecError(problems)
    given = Tune.model_validate(
        spec.tune.model_dump()
        | {name: value for name, value in (("trials", trials), ("metric", metric), ("seed", seed)) if value is not None}
    )
    best = spec.train.keep_best
    wanted = given.metric or (best.metric if best else "loss")
    tasks = list(dict.fromkeys(source.task for source in spec.data.valid))
    task, dot, _ = wanted.partition(".")
    if wanted != "loss" and (not dot or task not in tasks):
        names = ["loss", *(f"{name}.loss" for name in tasks)]
        hint = nearest(task, tasks) if dot else f"write loss or TASK.METRIC, for example {names[-1]}"
        message = f"metric {wanted!r} is of no task with rows in data.valid: {hint}"
        raise SpecError([planned.source.problem(("tune", "metric"), message)])
    mode = given.mode or (best.mode if best and best.metric == wanted else None)
    return given.model_copy(update={"metric": wanted, "mode": mode_of(wanted, mode)})


class _Search:
    def __init__(self, planned: Plan, settings: Tune, folder: Path, say: Say, step: Step | None) -> None:
        self.plan, self.settings, self.folder, self.say, self.step = planned, settings, folder, say, step
        self.space = dimensions(planned)
        self.trials = Trials(folder, planned.spec, settings, self.space)
        self.registry = discover()
        self.runner = Runner(folder, self.trials, lambda trial: self.spec(self.trials.values(trial)), discover(), step)

    def spec(self, values: Mapping[str, Any]) -> Source:
        """The spec with these values; it keeps the model of the best evaluation."""
        best = {"metric": self.settings.metric, "mode": self.settings.mode}
        return put(variant(self.plan.source, self.space, values), ("train", "keep_best"), best, ())

    def run(self) -> TuneResult:
        ended = self.trials.ended()
        if ended:
            self.say(f"going on after {len(ended)} of {self.settings.trials} trials in {self.folder}")
        self._count(len(ended))
        for number in range(len(ended), self.settings.trials):
            trial = self.trials.begin()
            self.say(f"trial {trial.number}: {setting(self.trials.values(trial))}")
            before = self.trials.best()
            self._tell(self.runner.run(trial), before)
            self.runner.tidy()
            self._count(number + 1)
        return self._result()

    def _count(self, done: int) -> None:
        if self.step:
            self.step("trials", done, self.settings.trials, {})

    def _tell(self, ended: TrialResult, before: TrialResult | None) -> None:
        """Say what came of a trial; the best one's spec is written at once."""
        name = f"trial {ended.number}"
        if ended.state == "failed":
            log = self.runner.folder(ended.number) / LOG
            self.say(f"{name} failed: {ended.reason.splitlines()[0]} (its log: {log})")
            return
        said = f"{self.settings.metric} {short(ended.value)}"
        best = self.trials.best()
        if best is not None and best.number == ended.number:
            write_best(self.spec(ended.values), self.registry, self.folder)
            said += ", the best so far" if before else ""
        self.say(f"{name} {'stopped early' if ended.state == 'pruned' else 'done'}: {said}")

    def _result(self) -> TuneResult:
        ended, best = self.trials.ended(), self.trials.best()
        if best is None:
            reasons = "\n".join(f"  {trial.number}: {trial.reason}" for trial in ended)
            raise TrainingError(f"every one of {len(ended)} trials has failed:\n{reasons}")
        spec = write_best(self.spec(best.values), self.registry, self.folder)
        model = self.runner.folder(best.number)
        return TuneResult(str(self.settings.metric), tuple(ended), best, spec, model)
