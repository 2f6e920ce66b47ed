"""``mmkit.train``: spec → trained, saved model; from the beginning, or from where a run was left."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mmkit.data.loading import open_all, raw_values
from mmkit.data.sources import Rows
from mmkit.discovery.loader import discover
from mmkit.errors import DataError, MmkitError, SpecError
from mmkit.model.build import build
from mmkit.model.checkpoint import load, restore, write_model
from mmkit.model.folder import dump_json
from mmkit.model.lora import merge
from mmkit.model.model import Model
from mmkit.spec.schema import Train
from mmkit.training.checkpoints import PROGRESS, Checkpoint, Checkpoints
from mmkit.training.interrupts import Interrupts
from mmkit.training.measures import callbacks
from mmkit.training.parallel.engines import same_start
from mmkit.training.parallel.lost import together
from mmkit.training.parallel.ranks import Ranks, connect
from mmkit.training.parallel.sharded import check_shardable
from mmkit.training.parallel.shares import share
from mmkit.training.privacy.budget import Budget, said, stage_budgets
from mmkit.training.rehearsal import rehearse
from mmkit.training.stage_run import run_stage
from mmkit.training.state import own_memory
from mmkit.training.surroundings import Say, Step, Surroundings
from mmkit.training.trackers import trackers
from mmkit.training.validation import Validation
from mmkit.wiring.graph import Plan
from mmkit.wiring.planner import plan


def train(
    spec: "str | os.PathLike[str] | Mapping[str, Any] | Plan",
    *,
    output: str | Path | None = None,
    seed: int | None = None,
    resume: bool = False,
    say: Say = print,
    step: Step | None = None,
) -> Model:
    """Build, train stage by stage, and save.

    A signal (SIGINT, SIGTERM) lets the step end, writes a checkpoint and leaves with KeyboardInterrupt or SystemExit(143).

    Started in several processes (torchrun, accelerate launch), all of them train together and return the model; the first
    one writes and says. ``step`` is called in each.

    Args:
        spec: path of a YAML/JSON file, a mapping, or a plan.
        output: folder of the saved model; default ``train.output``.
        seed: in place of ``train.seed``.
        resume: go on from the newest whole checkpoint of the run that was started in this folder last, with the losses
            that it would have had; from the beginning where there is none.
        say: receives one line of text at a time. step: receives (stage, step, steps, figures) for progress bars.

    Raises:
        SpecError, DataError, TrainingError: before anything is written, or with what was written intact.
        CheckpointError: nothing can be written, or the run to resume had another spec.
    """
    planned = spec if isinstance(spec, Plan) else plan(spec, discover())
    settings = planned.spec.train
    if settings is None:
        raise SpecError([planned.source.problem((), "the spec has no train section", "add train: {stages: [...]}")])
    if seed is not None:
        settings = settings.model_copy(update={"seed": seed})
        planned = replace(planned, spec=planned.spec.model_copy(update={"train": settings}))
    ranks = connect(planned, settings)
    with Interrupts(ranks.world > 1) as interrupts, together(ranks):
        return _train(planned, settings, ranks, interrupts, output, resume, say if ranks.first else _nothing, step)


def _train(
    planned: Plan,
    settings: Train,
    ranks: Ranks,
    interrupts: Interrupts,
    output: str | Path | None,
    resume: bool,
    say: Say,
    step: Step | None,
) -> Model:
    """``train``, among the other ranks."""
    folder = Path(output or settings.output)
    checkpoints = Checkpoints(folder, settings.keep, say)
    found = _begin(checkpoints, planned, ranks, resume)
    if found is True:
        say(f"this run is complete: {folder}")
        return load(folder)
    start = found if isinstance(found, Checkpoint) else None
    if resume:
        say(f"resuming from {start.folder}" if start else f"nothing to resume in {folder}: starting from the beginning")
    sources = open_all(planned, "train")
    _check_sharing(planned, settings, sources, ranks)
    if settings.privacy is not None:
        stage_budgets(planned, settings, sources)
    rehearse(planned, {rows.given.task for rows in sources})
    model = restore(start.folder, planned) if start else build(planned, fit=RawValues(sources, planned))
    own_memory(model)
    same_start(model, ranks)
    if settings.parallel != "fsdp2":  # which moves part by part
        model.to(ranks.device())
    follow = trackers(planned, folder)
    told = callbacks(model, folder, ranks.first)
    around = Surroundings(model, settings, sources, checkpoints, None, interrupts, say, step, follow, told, ranks)
    around = replace(around, validation=_validation(around, start), privacy=_budget(around, start))
    _stages(around, start)
    validation = around.validation
    if settings.keep_best and validation and validation.best:
        best = validation.best
        say(f"the model is that of stage {settings.stages[best['stage']].name}, step {best['step']}")
        model = load(folder, device=model.device)
        if around.privacy is not None:  # the choice has looked at every step
            model.privacy = around.privacy.record()
            model.save(folder)
    return model.eval()


def _begin(checkpoints: Checkpoints, planned: Plan, ranks: Ranks, resume: bool) -> Checkpoint | bool:
    """A new run, or where the last one is taken up; the first rank looks for all.

    Raises:
        CheckpointError: the run was started with another spec.
    """
    found: Checkpoint | bool = False
    error = None
    try:
        if ranks.first and resume:
            found = checkpoints.resume(planned.spec)
        elif ranks.first:
            checkpoints.begin()
    except MmkitError as caught:
        error = caught
    ranks.agree([], error)
    given: Checkpoint | bool = ranks.from_first(found)
    return given


def _check_sharing(planned: Plan, settings: Train, sources: Sequence[Rows], ranks: Ranks) -> None:
    """What several processes need.

    Raises:
        DataError: fewer rows than processes.
        SpecError: a step cannot be shared, or what is trained cannot be sharded.
    """
    if ranks.world == 1:
        return
    if settings.privacy is not None:
        message = f"private training runs in one process, and {ranks.world} were started"
        fix = "start it without torchrun or accelerate launch"
        raise SpecError([planned.source.problem(("train", "privacy"), message, fix)])
    rows = [len(source) for source in sources if not source.given.streaming]
    if len(rows) == len(sources) and sum(rows) < ranks.world:
        there = "1 row" if sum(rows) == 1 else f"{sum(rows)} rows"
        raise DataError(f"data.train has {there} for {ranks.world} processes; start at most {sum(rows)}")
    for index, stage in enumerate(settings.stages):
        share(stage, index, ranks.world, planned)
    if settings.parallel == "fsdp2":
        check_shardable(planned, settings)


def _stages(around: Surroundings, start: Checkpoint | None) -> None:
    """Every stage that is not done yet."""
    stages = around.settings.stages
    for index in range(start.order[0] if start else 0, len(stages)):
        inside = start if start and start.order[0] == index and start.order[1] else None
        if not run_stage(around, index, inside):
            around.interrupts.leave()
        merged = merge(around.model)
        if merged:
            around.say(f"stage {stages[index].name}: adapters of {merged} layers merged")
        if around.privacy is not None:
            spent = around.privacy.spent()
            around.say(f"stage {stages[index].name}: ε {spent:.3g} at δ {around.privacy.options.delta:g} spent so far")
        if index + 1 < len(stages):
            fill = partial(_between, around, index + 1)
            around.save(partial(around.checkpoints.write, index + 1, 0, fill))
        if not (around.settings.keep_best and around.validation):
            around.save(lambda: around.model.save(around.checkpoints.output))
            around.say(f"saved {around.checkpoints.output}")
        (interrupted,) = around.ranks.agree([around.interrupts.received is not None])
        if index + 1 < len(stages) and interrupted:
            around.say(f"interrupted after stage {stages[index].name}; resume goes on with the next")
            around.interrupts.leave()
    around.save(partial(around.checkpoints.finish, keep=around.privacy is None))
    if around.privacy is not None:
        around.say(said(around.privacy.record()))


def _budget(around: Surroundings, start: Checkpoint | None) -> Budget | None:
    """What a private run may spend, as a checkpoint left it."""
    settings, model = around.settings, around.model
    if settings.privacy is None:
        return None
    rows = sum(len(source) for source in around.sources)
    stages = stage_budgets(model.plan, settings, around.sources)
    budget = Budget(settings.privacy, stages, model.device, rows)
    if start is not None:
        budget.load(start.progress["privacy"])
    around.say(budget.plan)
    return budget


def _between(around: Surroundings, stage: int, folder: Path) -> None:
    """A checkpoint at the beginning of a stage: a model and a place."""
    write_model(around.model, folder, around.checkpoints.path(stage, 0), merged=False)
    dump_json(folder / PROGRESS, around.position(stage, 0))


def _validation(around: Surroundings, start: Checkpoint | None) -> Validation | None:
    """The evaluation on data.valid, where the spec has rows for it.

    Raises:
        SpecError: keep_best without such rows, or with a metric that is not there.
    """
    model, settings = around.model, around.settings
    data = model.plan.spec.data
    if data is None or not data.valid:
        wanted = [name for name in ("keep_best", "eval_every", "eval_limit") if getattr(settings, name) is not None]
        if wanted:
            message = f"{wanted[0]} needs rows to evaluate on, and the spec names no data.valid"
            fix = "add data: {valid: [{task: …, path: …}]}"
            raise SpecError([model.plan.source.problem(("train", wanted[0]), message, fix)])
        return None
    keep = partial(around.save, lambda: model.save(around.checkpoints.output))
    validation = Validation(model, settings, around.say, keep, around.ranks)
    validation.rehearse()
    if start is not None:
        validation.load_state_dict(start.progress["validation"])
    return validation


def _nothing(line: str) -> None:
    pass


class RawValues(Mapping[str, Any]):
    """Raw values per modality, read from the training data only when a component asks."""

    def __init__(self, sources: list[Rows], planned: Plan) -> None:
        self.sources, self.plan = sources, planned

    def __getitem__(self, modality: str) -> Any:
        return raw_values(self.sources, self.plan, modality)

    def __contains__(self, modality: object) -> bool:
        return modality in self.plan.modalities

    def __iter__(self) -> Any:
        return iter(self.plan.modalities)

    def __len__(self) -> int:
        return len(self.plan.modalities)
