"""``mmkit.train``: spec → trained, saved model."""

import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from mmkit.data.cache.use import feature_caches, rows_recur
from mmkit.data.loading import Quarantine, loader, open_all, raw_values
from mmkit.data.sources import Rows
from mmkit.discovery.loader import discover
from mmkit.errors import SpecError
from mmkit.model.build import build
from mmkit.model.model import Model
from mmkit.spec.schema import Data, Stage, Train
from mmkit.training.stages import apply_stage, frozen_encoders
from mmkit.training.trainer import PackedTrainer, Progress
from mmkit.wiring.graph import Plan
from mmkit.wiring.planner import plan

Say = Callable[[str], None]
Step = Callable[[str, int, int, dict[str, float]], None]


def train(
    spec: "str | os.PathLike[str] | Mapping[str, Any]",
    *,
    output: str | Path | None = None,
    seed: int | None = None,
    say: Say = print,
    step: Step | None = None,
) -> Model:
    """Build, train stage by stage, and save.

    Args:
        output: folder of the saved model; default ``train.output``.
        seed: in place of ``train.seed``.
        say: receives one line of text at a time. step: receives (stage, step, steps, logs) for progress bars.

    Raises:
        SpecError, DataError, TrainingError: before anything is written, or with what was written intact.
    """
    planned = plan(spec, discover())
    settings = planned.spec.train
    if settings is None:
        raise SpecError([planned.source.problem((), "the spec has no train section", "add train: {stages: [...]}")])
    if seed is not None:
        settings = settings.model_copy(update={"seed": seed})
        planned = replace(planned, spec=planned.spec.model_copy(update={"train": settings}))
    sources = open_all(planned, "train")
    model = build(planned, fit=_Fit(sources, planned))
    if torch.cuda.is_available():
        model.to("cuda")
    folder = Path(output or settings.output)
    for index, stage in enumerate(settings.stages):
        _stage(model, settings, stage, index, sources, say, step, folder)
        model.save(folder)
        say(f"saved {folder}")
    return model.eval()


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


def _stage(
    model: Model,
    settings: Train,
    stage: Stage,
    index: int,
    sources: list[Rows],
    say: Say,
    step: Step | None,
    output: Path,
) -> None:
    table = apply_stage(model, stage, index)
    say(f"stage {stage.name}: " + ", ".join(f"{node} {on:,}/{all_:,}" for node, (on, all_) in table.items() if all_))
    recur = rows_recur(settings.stages, sources)
    with feature_caches(model, frozen_encoders(model), precision=settings.precision, recur=recur, say=say):
        _run(model, settings, stage, index, sources, say, step, output)


def _run(
    model: Model,
    settings: Train,
    stage: Stage,
    index: int,
    sources: list[Rows],
    say: Say,
    step: Step | None,
    output: Path,
) -> None:
    seed = settings.seed + index
    total = None if stage.steps else _samples(model.plan, stage, index, sources)
    batches = loader(model, sources, stage, total_samples=total, seed=seed, stage_index=index)
    steps = stage.steps or batches.steps(stage.accumulate)
    data = model.plan.spec.data or Data()
    quarantine = Quarantine(data.max_bad)
    folder = tempfile.mkdtemp(prefix="mmkit-train-")  # Trainer wants one; it writes nothing there
    started = time.monotonic()
    try:
        trainer = PackedTrainer(model, arguments(settings, stage, steps, seed, folder), batches, quarantine)
        from transformers import PrinterCallback, ProgressCallback

        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)

        def report(at: int, of: int, logs: dict[str, float]) -> None:
            if step:
                step(stage.name, at, of, logs)
            if settings.save_every and not logs and at % settings.save_every == 0 and at < of:
                model.save(output)
            if "loss" in logs:
                tasks = "  ".join(f"{task} {value:.3f}" for task, value in trainer.task_losses().items())
                say(f"stage {stage.name}  step {at}/{of}  loss {float(logs['loss']):.3f}  {tasks}")

        trainer.add_callback(Progress(report))
        trainer.train()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    quarantine.close()
    if quarantine.bad:
        say(f"skipped: {quarantine.summary()}")
    if batches.report.summary():
        say(f"stage {stage.name}: {batches.report.summary()}")
    say(f"stage {stage.name}: {steps} steps in {time.monotonic() - started:.0f} s")


def _samples(planned: Plan, stage: Stage, index: int, sources: list[Rows]) -> int:
    if any(rows.given.streaming for rows in sources):
        problem = planned.source.problem(
            ("train", "stages", index, "epochs"),
            "epochs cannot be counted over a streaming source",
            "give steps instead",
        )
        raise SpecError([problem])
    return math.ceil(sum(len(rows) for rows in sources) * float(stage.epochs or 0))


def arguments(settings: Train, stage: Stage, steps: int, seed: int, folder: str) -> TrainingArguments:
    """Trainer's arguments, with the defaults that fail in silence turned off."""
    return TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=stage.batch_size or 1,
        gradient_accumulation_steps=stage.accumulate,
        learning_rate=stage.lr,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(stage.schedule, stage.schedule),
        warmup_steps=int(stage.warmup * steps),
        weight_decay=0.0 if stage.optimizer == "adam" else stage.weight_decay,
        optim="adamw_torch",
        max_grad_norm=stage.clip,
        bf16=settings.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        logging_steps=settings.log_every,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        save_strategy="no",
        report_to=[],
        seed=seed,
        disable_tqdm=True,
    )
