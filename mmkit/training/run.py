"""``mmkit.train``: spec → trained, saved model; from the beginning, or from where a run was left."""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mmkit.data.loading import open_all, raw_values
from mmkit.data.sources import Rows
from mmkit.discovery.loader import discover
from mmkit.errors import SpecError
from mmkit.model.build import build
from mmkit.model.checkpoint import load, restore, write_model
from mmkit.model.folder import dump_json
from mmkit.model.lora import merge
from mmkit.model.model import Model
from mmkit.spec.schema import Train
from mmkit.training.checkpoints import PROGRESS, Checkpoint, Checkpoints
from mmkit.training.interrupts import Interrupts
from mmkit.training.rehearsal import rehearse
from mmkit.training.stage_run import Say, Step, Surroundings, position, run_stage
from mmkit.training.state import own_memory
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
    folder = Path(output or settings.output)
    checkpoints = Checkpoints(folder, settings.keep, say)
    found = checkpoints.resume(planned.spec) if resume else False
    if not resume:
        checkpoints.begin()
    if found is True:
        say(f"this run is complete: {folder}")
        return load(folder)
    start = found if isinstance(found, Checkpoint) else None
    if resume:
        say(f"resuming from {start.folder}" if start else f"nothing to resume in {folder}: starting from the beginning")
    sources = open_all(planned, "train")
    rehearse(planned, {rows.given.task for rows in sources})
    model = restore(start.folder, planned) if start else build(planned, fit=_Fit(sources, planned))
    own_memory(model)
    if torch.cuda.is_available():
        model.to("cuda")
    with Interrupts() as interrupts:
        validation = _validation(model, settings, say, folder, start)
        follow = trackers(planned, folder)
        around = Surroundings(model, settings, sources, checkpoints, validation, interrupts, say, step, follow)
        _stages(around, start)
    if settings.keep_best and validation and validation.best:
        best = validation.best
        say(f"the model is that of stage {settings.stages[best['stage']].name}, step {best['step']}")
        model = load(folder, device=model.device)
    return model.eval()


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
        if index + 1 < len(stages):
            around.checkpoints.write(index + 1, 0, partial(_between, around, index + 1))
        if not (around.settings.keep_best and around.validation):
            around.model.save(around.checkpoints.output)
            around.say(f"saved {around.checkpoints.output}")
        if index + 1 < len(stages) and around.interrupts.received is not None:
            around.say(f"interrupted after stage {stages[index].name}; resume goes on with the next")
            around.interrupts.leave()
    around.checkpoints.finish()


def _between(around: Surroundings, stage: int, folder: Path) -> None:
    """A checkpoint at the beginning of a stage: a model and a place."""
    write_model(around.model, folder, around.checkpoints.path(stage, 0), merged=False)
    dump_json(folder / PROGRESS, position(around, stage, 0))


def _validation(model: Model, settings: Train, say: Say, folder: Path, start: Checkpoint | None) -> Validation | None:
    """The evaluation on data.valid, where the spec has rows for it.

    Raises:
        SpecError: keep_best without such rows, or with a metric that is not there.
    """
    data = model.plan.spec.data
    if data is None or not data.valid:
        wanted = [name for name in ("keep_best", "eval_every", "eval_limit") if getattr(settings, name) is not None]
        if wanted:
            message = f"{wanted[0]} needs rows to evaluate on, and the spec names no data.valid"
            fix = "add data: {valid: [{task: …, path: …}]}"
            raise SpecError([model.plan.source.problem(("train", wanted[0]), message, fix)])
        return None
    validation = Validation(model, settings, say, lambda: model.save(folder))
    validation.rehearse()
    if start is not None:
        validation.load_state_dict(start.progress["validation"])
    return validation


class _Fit(Mapping[str, Any]):
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
