"""One stage from its table to its last step, from the beginning or from a checkpoint."""

import math
import signal
import time
from collections.abc import Mapping
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from mmkit.data.cache.use import feature_caches, rows_recur
from mmkit.data.loading import PackedLoader, Quarantine, loader
from mmkit.data.lots import Lots
from mmkit.data.quarantine import PackingReport
from mmkit.errors import SpecError
from mmkit.model.batch import PackedBatch
from mmkit.model.blocks import repeated_blocks, wrapped_blocks
from mmkit.model.checkpoint import write_model
from mmkit.model.folder import dump_json
from mmkit.model.lora import quantize
from mmkit.spec.schema import Data, Stage
from mmkit.training.adapt import attach_lora
from mmkit.training.arguments import arguments
from mmkit.training.checkpoints import PROGRESS, Checkpoint
from mmkit.training.faults import cannot_compile, is_out_of_memory, is_uncompilable, out_of_memory
from mmkit.training.flow import Flow
from mmkit.training.meter import Meter, line
from mmkit.training.parallel.choice import engine
from mmkit.training.parallel.engines import Engine
from mmkit.training.parallel.shares import share
from mmkit.training.privacy.budget import StageBudget
from mmkit.training.privacy.gradient import PrivateGradient
from mmkit.training.probe import probe
from mmkit.training.stages import Trainable, apply_stage, frozen_encoders, lines
from mmkit.training.state import (
    OPTIMIZER,
    RANDOM,
    load_optimizer,
    load_random,
    load_schedule,
    optimizer_state,
    random_state,
    schedule_state,
)
from mmkit.training.surroundings import Surroundings
from mmkit.training.trainer import PackedTrainer

NO_BLOCKS = "stage {0.name}: no node repeats a block, so nothing is {1}"
_APART = 1_000_003
"""Between the seeds of the ranks' dropout."""


def run_stage(around: Surroundings, index: int, start: Checkpoint | None) -> bool:
    """Train one stage to its last step, or to an interruption; whether it is complete.

    Args:
        start: a checkpoint inside the stage to go on from; the model is as it was there.

    Raises:
        TrainingError: a loss or gradient that is no number; out of memory.
    """
    model, settings, say = around.model, around.settings, around.say
    stage = settings.stages[index]
    if start is None:
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed + index)
            attach_lora(model, stage, index)
    quantize(model)
    trained = apply_stage(model, stage, index, {rows.given.task for rows in around.sources})
    for text in lines(stage, trained.table):
        say(text)
    recur = rows_recur(settings.stages, around.sources)
    with feature_caches(model, frozen_encoders(model), precision=settings.precision, recur=recur, say=say):
        trains = engine(model, trained, settings, around.ranks)
        blocks = repeated_blocks(trains.net)
        wanted = {"compiled": settings.compile, "checkpointed": settings.checkpoint_activations}
        for what in [what for what, on in wanted.items() if on]:
            found = f"stage {stage.name}: {len(blocks)} repeated blocks are {what}"
            say(found if blocks else NO_BLOCKS.format(stage, what))
        with wrapped_blocks(blocks, **wanted) as recompiles:
            complete = StageRun(around, index, start, trained, trains).run()
    if blocks and settings.compile:
        say(f"stage {stage.name}: {recompiles.count} recompiles")
    return complete


class StageRun:
    """One stage whose trainable parameters are set; implements the trainer's ``Hooks``."""

    def __init__(
        self, around: Surroundings, index: int, start: Checkpoint | None, trained: Trainable, trains: Engine
    ) -> None:
        self.around, self.index, self.start, self.trained, self.engine = around, index, start, trained, trains
        model, settings = around.model, around.settings
        self.stage: Stage = settings.stages[index]
        self.own = share(self.stage, index, around.ranks.world, model.plan)
        self.budget = around.privacy.stages[index] if around.privacy else None
        if self.budget is not None:  # one lot a step, clipped by its samples
            self.own = self.own.model_copy(update={"accumulate": 1, "batch_size": self.budget.lot, "clip": math.inf})
        self.seed = settings.seed + index
        self.batches = self._loader()
        self.steps = self.stage.steps or self._steps()
        self.quarantine = Quarantine((model.plan.spec.data or Data()).max_bad)
        autoregressive = [name for name, head in model.parts.heads.items() if head.autoregressive]
        parameters = sum(row.total for row in trained.table)
        world = around.ranks.world
        self.meter = Meter(self.steps, parameters, autoregressive, model.device, settings.precision, world)
        self.saved_at = -1
        self.stopped = False
        self.trainer = self._trainer()

    def _steps(self) -> int:
        return (
            self.batches.steps(self.own.accumulate) if isinstance(self.batches, PackedLoader) else self._private.steps
        )

    @property
    def _private(self) -> StageBudget:
        assert self.budget is not None
        return self.budget

    def _loader(self) -> PackedLoader | Lots:
        around = self.around
        if self.budget is not None and around.privacy is not None:
            rates, secret = self.budget.rates, around.privacy.secret
            return Lots(around.model, around.sources, rates, secret=secret, seed=self.seed, stage_index=self.index)
        return loader(
            around.model,
            around.sources,
            self.own,
            total_samples=self._samples(),
            seed=self.seed,
            stage_index=self.index,
            rank=around.ranks.rank,
            world=around.ranks.world,
        )

    def _samples(self) -> int | None:
        """Rows to draw where the stage is counted in epochs.

        Raises:
            SpecError: a streaming source has no number of rows.
        """
        if self.stage.epochs is None:
            return None
        if any(rows.given.streaming for rows in self.around.sources):
            message = "epochs cannot be counted over a streaming source"
            location = ("train", "stages", self.index, "epochs")
            raise SpecError([self.around.model.plan.source.problem(location, message, "give steps instead")])
        return max(1, round(sum(len(rows) for rows in self.around.sources) * self.stage.epochs))

    def _trainer(self) -> PackedTrainer:
        around, settings = self.around, self.around.settings
        name = f"{around.checkpoints.output.name}-{self.stage.name}"
        trainer = PackedTrainer(
            self.engine,
            around.ranks,
            arguments(settings, self.own, self.steps, self.seed + _APART * around.ranks.rank, name),
            self.batches,
            [name for name in around.model.plan.tasks if name in {rows.given.task for rows in around.sources}],
            self.meter,
            self,
            settings.precision == "bf16",
            self._private_gradient(),
        )
        trainer.load = self._load
        at = self.start.order[1] if self.start else 0
        for tracker in around.trackers(f"{self.index}-{self.stage.name}", at) if around.ranks.first else ():
            trainer.add_callback(tracker)
        for callback in around.callbacks:
            trainer.add_callback(callback)
        evaluates = around.validation is not None
        flow = Flow(settings.eval_every, settings.save_every, evaluates, self._stopping, self._report)
        trainer.add_callback(flow)
        return trainer

    def _private_gradient(self) -> PrivateGradient | None:
        """Over what the data reaches: noise alone would move the rest."""
        around = self.around
        if around.privacy is None:
            return None
        reached = tuple(f"{row.node}." for row in self.trained.table if row.used)
        parameters = [p for name, p in self.trained.parameters.items() if name.startswith(reached)]
        return PrivateGradient(around.model, parameters, around.privacy, self._private)

    def run(self) -> bool:
        """See ``run_stage``."""
        say, name = self.around.say, self.stage.name
        if self.around.settings.probe:
            say(self._probe())
        began = time.monotonic()
        try:
            with self.around.watch(self.trainer):
                self.trainer.train(resume_from_checkpoint=str(self.start.folder) if self.start else None)
        except (RuntimeError, MemoryError) as error:
            when = f"at step {self.trainer.state.global_step + 1} of stage {name}"
            if is_uncompilable(error):
                raise cannot_compile(error, when) from error
            if not is_out_of_memory(error):
                raise
            raise out_of_memory(error, self.trainer.current, self.meter.autoregressive, when) from error
        self.engine.finish()
        self._say_rest()
        moved = self.trainer.bare_optimizer().state
        idle = [name for name, parameter in self.engine.trained.parameters.items() if parameter not in moved]
        if idle:
            say(f"stage {name}: {len(idle)} trainable parameters never had a gradient, the first is {idle[0]}")
        done = self.trainer.state.global_step
        say(
            f"stage {name}: {done - (self.start.order[1] if self.start else 0)} steps in {time.monotonic() - began:.0f} s"
        )
        ended = done < self.steps and not self._stopping()
        if ended:
            say(f"stage {name}: ended by a callback at step {done} of {self.steps}")
        return done >= self.steps or ended

    def _say_rest(self) -> None:
        """What could not be used, on all ranks.

        Raises:
            DataError: too many rows were bad.
        """
        gathered = self.around.ranks.gather((self.quarantine, self.batches.report))
        quarantine, report = Quarantine.joined([q for q, _ in gathered]), PackingReport.joined([r for _, r in gathered])
        if self.trainer.state.global_step >= self.steps:
            quarantine.close()
        if quarantine.bad:
            self.around.say(f"skipped: {quarantine.summary()}")
        if report.summary():
            self.around.say(f"stage {self.stage.name}: {report.summary()}")

    def _probe(self) -> str:
        settings, model = self.around.settings, self.around.model
        autocast = settings.precision == "bf16"
        made: Any = islice(self._loader(), self.steps * self.own.accumulate)
        batches = (b for b in chain.from_iterable(made) if b.tasks) if self.budget else made
        blocks = [] if self.engine.net is model else repeated_blocks(model)  # not the ones that are wrapped
        with self.engine.whole(), wrapped_blocks(blocks, checkpointed=settings.checkpoint_activations):
            return probe(model, batches, self.trained.parameters, self.meter.autoregressive, autocast, self.stage.name)

    def _report(self, at: int, of: int, figures: Mapping[str, float]) -> None:
        if self.around.step:
            self.around.step(self.stage.name, at, of, dict(figures))
        if "loss" in figures:
            self.around.say(line(self.stage.name, at, of, figures))

    def batch(self, batch: PackedBatch) -> None:
        """Count it, and its bad rows."""
        self.quarantine.add(batch)

    def interrupted(self) -> bool:
        """Whether a signal has come to this process."""
        return self.around.interrupts.received is not None

    def stop(self) -> None:
        """A signal has come to some process."""
        self.stopped = True
        self.around.interrupts.received = self.around.interrupts.received or signal.SIGTERM

    def _stopping(self) -> bool:
        """The same on all ranks."""
        return self.stopped or (self.around.ranks.world == 1 and self.interrupted())

    def evaluate(self) -> dict[str, float]:
        """Figures on data.valid."""
        if self.around.validation is None:
            return {}
        with self.engine.whole():
            return self.around.validation(self.index, self.trainer.state.global_step)

    def save(self) -> None:
        """Write a checkpoint of this step, unless it is there."""
        at = self.trainer.state.global_step
        if at == self.saved_at:
            return
        checkpoints, path = self.around.checkpoints, self.around.checkpoints.path(self.index, at)
        parts = self._parts()
        with self.engine.whole():
            self.around.save(lambda: checkpoints.write(self.index, at, partial(self._fill, parts)))
        self.saved_at = at
        if self._stopping():
            path = path.resolve()
            self.around.say(
                f"interrupted at step {at} of stage {self.stage.name}: saved {path}; resume goes on from it"
            )

    def _parts(self) -> dict[str, Any]:
        """What the ranks hold of the stage's state, gathered: optimizer, and of every rank random states and data."""
        tensors, groups = optimizer_state(self.trainer.bare_optimizer(), self.engine.trained.parameters)
        own = (random_state(), self.trainer.place or self.batches.state_dict(), self.quarantine.state())
        randoms, data, quarantines = zip(*self.around.ranks.gather(own), strict=True)
        numbered = {f"{rank}/{name}": t for rank, (state, _) in enumerate(randoms) for name, t in state.items()}
        progress = {"random": [rest for _, rest in randoms], "data": list(data), "quarantine": list(quarantines)}
        return {"files": {OPTIMIZER: tensors, RANDOM: numbered}, "optimizer": groups, **progress}

    def _fill(self, parts: dict[str, Any], folder: Path) -> None:
        """Everything a resumption needs, into the folder of a checkpoint."""
        trainer, around = self.trainer, self.around
        final = around.checkpoints.path(self.index, trainer.state.global_step)
        write_model(around.model, folder, final, merged=False)
        for name, tensors in parts["files"].items():
            save_file(tensors, folder / name)
        trainer.state.save_to_json(str(folder / "trainer_state.json"))
        progress = {
            **around.position(self.index, trainer.state.global_step),
            "steps": self.steps,
            "schedule": schedule_state(trainer.bare_scheduler()),
            "meter": self.meter.state_dict(),
            **{name: part for name, part in parts.items() if name != "files"},
        }
        dump_json(folder / PROGRESS, progress)

    def _load(self, folder: Path) -> None:
        """The optimizer exists: fill it, and set everything else to the checkpoint's place."""
        assert self.start is not None
        progress, optimizer, ranks = self.start.progress, self.trainer.bare_optimizer(), self.around.ranks
        load_optimizer(optimizer, self.engine.trained.parameters, progress["optimizer"], folder)
        load_schedule(self.trainer.bare_scheduler(), progress["schedule"])
        data = progress["data"]
        self.batches.load_state_dict(data[ranks.rank] if ranks.rank < len(data) else data[0])
        self.meter.load_state_dict(progress["meter"])
        self.quarantine.load(progress["quarantine"][ranks.rank :: ranks.world])  # those of ranks that are no more, too
        self.saved_at = self.start.order[1]

    def resumed(self) -> None:
        """Random states last, so that nothing that is set up draws from them. A rank that was not there begins anew."""
        rank = self.around.ranks.rank
        if self.start is not None and rank < len(self.start.progress["random"]):
            load_random(self.start.folder, rank, self.start.progress["random"][rank])
