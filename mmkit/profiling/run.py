"""A few steps of a real training under torch's profiler; nothing of it is saved but the trace."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import TrainerCallback

from mmkit.data.loading import open_all
from mmkit.discovery.loader import discover
from mmkit.errors import MmkitError, SpecError, nearest
from mmkit.model.build import build
from mmkit.model.model import Model
from mmkit.profiling.account import Account, account
from mmkit.profiling.regions import CLIP, DATA, OPTIMIZER, STREAM, regions
from mmkit.profiling.trace import write_trace
from mmkit.spec.schema import Train
from mmkit.training.checkpoints import Checkpoints
from mmkit.training.hardware import peak_memory
from mmkit.training.interrupts import Interrupts
from mmkit.training.parallel.ranks import Ranks
from mmkit.training.rehearsal import rehearse
from mmkit.training.run import RawValues
from mmkit.training.stage_run import run_stage
from mmkit.training.state import own_memory
from mmkit.training.surroundings import Say, Surroundings
from mmkit.training.trainer import PackedTrainer
from mmkit.wiring.graph import Plan
from mmkit.wiring.planner import plan

WARM = 3
OTHER = "other"


@dataclass(frozen=True)
class Part:
    """One component, or one part of a step: milliseconds of a step, megabytes.

    Attributes:
        forward, backward: zero where a part has no such time. other: time that is neither.
        weights: all. training: gradients and optimizer state. kept: what a forward pass holds for the backward pass.
    """

    name: str
    forward: float = 0.0
    backward: float = 0.0
    other: float = 0.0
    weights: float = 0.0
    training: float = 0.0
    kept: float = 0.0

    @property
    def time(self) -> float:
        """All of it."""
        return self.forward + self.backward + self.other


@dataclass(frozen=True)
class Profile:
    """What was measured.

    Attributes:
        parts: their times sum up to ``step``. step: milliseconds of a step under the profiler.
        bare: the same without it; None where the stage is too short to tell. peak: most megabytes held.
    """

    stage: str
    steps: int
    device: str
    parts: tuple[Part, ...]
    step: float
    bare: float | None
    peak: float
    trace: Path


def profile_training(
    spec: "str | os.PathLike[str] | Mapping[str, Any]",
    *,
    stage: str | None = None,
    steps: int = 5,
    output: str | Path | None = None,
    say: Say = print,
) -> Profile:
    """Train a fresh model for a few steps, and say where time and memory go.

    Args:
        stage: name of the stage; default: the first. steps: to be measured, after three that are not.
        output: file of the trace; default ``<train.output>.trace.json``.

    Raises:
        SpecError, DataError, TrainingError: as ``mmkit.train`` does. MmkitError: no such stage, or several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise MmkitError("mmkit profile runs in one process; start it without torchrun or accelerate launch")
    planned = plan(spec, discover())
    settings = planned.spec.train
    if settings is None:
        raise SpecError([planned.source.problem((), "the spec has no train section", "add train: {stages: [...]}")])
    names = [one.name for one in settings.stages]
    if stage is not None and stage not in names:
        raise MmkitError(f"there is no stage {stage!r}: {nearest(stage, names)}")
    index = names.index(stage) if stage else 0
    around = _surroundings(planned, settings, say)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it would talk about every start and stop
    window = _Window(steps)
    run_stage(replace(around, watch=partial(_watched, around.model, window)), index, None)
    path = Path(output or f"{settings.output}.trace.json")
    write_trace(window.profiler, window.account.owners, path)
    parts = _parts(around.model, window)
    peak = peak_memory(around.model.device) / 1e6
    device = str(around.model.device)
    return Profile(names[index], window.steps, device, parts, window.step, window.bare, peak, path)


def _surroundings(planned: Plan, settings: Train, say: Say) -> Surroundings:
    """A fresh model and its data, with nothing that is saved, evaluated or logged."""
    quiet = {"save_every": None, "eval_every": None, "keep_best": None, "probe": False, "log_every": 10**9}
    settings = settings.model_copy(update={**quiet, "parallel": None})
    sources, ranks = open_all(planned, "train"), Ranks()
    rehearse(planned, {rows.given.task for rows in sources})
    model = build(planned, fit=RawValues(sources, planned))
    own_memory(model)
    model.to(ranks.device())
    checkpoints = Checkpoints(Path(settings.output), settings.keep, say)
    none: Callable[[str, int], list[Any]] = lambda stage, after: []  # noqa: E731
    return Surroundings(model, settings, sources, checkpoints, None, Interrupts(), say, None, none, (), ranks)


@contextmanager
def _watched(model: Model, window: "_Window", trainer: PackedTrainer) -> Iterator[None]:
    trainer.add_callback(window)
    with regions(model, trainer) as names:
        yield
    window.finish(names, trainer)


class _Window(TrainerCallback):
    """Measures some steps, and ends the training after them."""

    def __init__(self, steps: int) -> None:
        self.wanted, self.steps, self.warm = steps, 0, 0
        self.cuda = torch.cuda.is_available()
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.cuda else [])]
        self.profiler = profile(activities=activities, profile_memory=True)
        self.step = 0.0
        self.bare: float | None = None
        self.began = self.first = 0.0
        self.account = Account()
        self.training: dict[int, int] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """How many steps there are."""
        self.warm = min(WARM, state.max_steps - 1)
        self.steps = min(self.wanted, state.max_steps - self.warm)
        if self.warm == 0:
            self._begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A step is done."""
        if state.global_step == 1:
            self.first = self._now()
        if state.global_step == self.warm:
            if self.warm > 1:
                self.bare = 1000 * (self._now() - self.first) / (self.warm - 1)
            self._begin()
        elif state.global_step == self.warm + self.steps:
            self.step = 1000 * (self._now() - self.began) / self.steps
            self.profiler.stop()
            control.should_training_stop = True

    def _begin(self) -> None:
        self.profiler.start()
        self.began = self._now()

    def _now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def finish(self, names: list[str], trainer: PackedTrainer) -> None:
        """Sum up what was recorded, and what training holds for each parameter."""
        self.account = account(self.profiler.events() or [], names, self.cuda)
        for parameter in trainer.weights:
            state = trainer.bare_optimizer().state.get(parameter, {})
            tensors = [parameter, *(value for value in state.values() if isinstance(value, torch.Tensor))]
            self.training[id(parameter)] = sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _parts(model: Model, window: _Window) -> tuple[Part, ...]:
    found, steps = window.account, window.steps
    milli = lambda times, name: max(0.0, times.get(name, 0.0)) / 1000 / steps  # noqa: E731
    made, passes = [], max(1, found.passes)
    for name, module in model.nodes().items():
        weights = list(module.parameters())
        made.append(
            Part(
                name,
                milli(found.forward, name),
                milli(found.backward, name),
                weights=sum(weight.numel() * weight.element_size() for weight in weights) / 1e6,
                training=sum(window.training.get(id(weight), 0) for weight in weights) / 1e6,
                kept=max(0.0, found.kept.get(name, 0.0)) / 1e6 / passes,
            )
        )
    kept = max(0.0, found.kept.get(STREAM, 0.0)) / 1e6 / passes
    made.append(Part(STREAM, milli(found.forward, STREAM), milli(found.backward, STREAM), kept=kept))
    made += [Part(name, other=milli(found.forward, name)) for name in (DATA, CLIP, OPTIMIZER)]
    rest = window.step - sum(part.time for part in made)
    return (*made, Part(OTHER, other=max(0.0, rest)))
