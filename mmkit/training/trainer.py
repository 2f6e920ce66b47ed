"""Hugging Face Trainer over packed batches, with its silent failures turned off."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainingArguments,
)

from mmkit.errors import DataError, MmkitError, TrainingError
from mmkit.model.batch import PackedBatch
from mmkit.training.faults import Pass, StepNumbers, check_gradient, read_step
from mmkit.training.meter import Meter
from mmkit.training.parallel.engines import Engine
from mmkit.training.parallel.gradients import clip, local, total_norm
from mmkit.training.parallel.ranks import Ranks
from mmkit.training.privacy.gradient import PrivateGradient


class Batches(Protocol):
    """A resumable source of packed batches."""

    def __iter__(self) -> Any:
        """Batches from the position that was loaded, or from the first."""

    def state_dict(self) -> dict[str, Any]:
        """The position after the last batch handed out."""


class Hooks(Protocol):
    """What the run around a stage does when the trainer comes by."""

    def batch(self, batch: PackedBatch) -> None:
        """A batch came from the data."""

    def resumed(self) -> None:
        """The first batches are there, the first step follows: random states can be set."""

    def interrupted(self) -> bool:
        """Whether a signal has come to this process."""

    def stop(self) -> None:
        """A signal has come to some process: all of them stop after this step."""

    def save(self) -> None:
        """Write a checkpoint."""

    def evaluate(self) -> dict[str, float]:
        """Figures on held-out rows."""


class PackedTrainer(Trainer):
    """Feeds ``PackedBatch`` to the model; losses are normalised over all passes of one optimizer step.

    Trainer's own saving and loading is replaced: it pickles, chooses broken checkpoints, and knows no packed data. So is
    its way to train in several processes: the engine has the weights, and ranks agree on totals twice a step.

    Args:
        tasks: all that the data may have.
        private: gets the optimizer's gradient from those of single samples; ``batches`` are then lots.

    Attributes:
        place: position of the data before the batches of this step, where these may have to be given back.
    """

    def __init__(
        self,
        engine: Engine,
        ranks: Ranks,
        args: TrainingArguments,
        batches: Batches,
        tasks: Sequence[str],
        meter: Meter,
        hooks: Hooks,
        autocast: bool,
        private: PrivateGradient | None = None,
    ) -> None:
        engine.net._is_accelerate_prepared = True  # type: ignore[assignment]  # where launched it would wrap it in its DDP
        super().__init__(model=engine.net, args=args)
        for callback in (PrinterCallback, ProgressCallback):
            self.remove_callback(callback)
        self.engine, self.ranks, self.net, self.trained = engine, ranks, engine.net, engine.trained
        self.batches, self.tasks, self.meter, self.hooks = batches, list(tasks), meter, hooks
        self.autocast, self.private = autocast, private
        self.weights = list(self.trained.parameters.values())
        self.device = local(self.weights[0]).device
        self.place: dict[str, Any] | None = None
        self.passes: list[Pass] = []
        self.current: PackedBatch | None = None
        self.first = True

    def _move_model_to_device(self, model: nn.Module, device: torch.device) -> None:
        """It is there; moved to ``cpu:0``, buffers of a sharded model's twin would no longer be those of the model."""

    def _wrap_model(self, model: nn.Module, training: bool = True, dataloader: Any = None) -> nn.Module:
        """As it is: one process uses one GPU, however many there are."""
        return model

    def get_train_dataloader(self) -> Any:
        """The packed loader as it is: without a length, so that Trainer counts steps, not epochs."""
        return _Unsized(self.batches)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW over the trainable parameters, one group for each learning rate, with and without weight decay."""
        decayed = set(self.get_decay_parameter_names(self.net))
        full = {id(parameter): name for name, parameter in self.net.named_parameters()}
        groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.trained.parameters.items():
            # fused kernels take no mixture of sharded and whole parameters
            key = (self.trained.rates[name], full[id(parameter)] in decayed, isinstance(parameter, DTensor))
            groups.setdefault(key, []).append(parameter)
        kind, options = self.get_optimizer_cls_and_kwargs(self.args)
        self.optimizer = kind(
            [
                {"params": parameters, "lr": rate, "weight_decay": self.args.weight_decay if decay else 0.0}
                for (rate, decay, _), parameters in groups.items()
            ],
            **options,
        )
        return self.optimizer

    def bare_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer inside accelerate's wrapper."""
        return cast("torch.optim.Optimizer", getattr(self.optimizer, "optimizer", self.optimizer))

    def bare_scheduler(self) -> torch.optim.lr_scheduler.LRScheduler:
        """The learning-rate schedule."""
        return cast("torch.optim.lr_scheduler.LRScheduler", self.lr_scheduler)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list[Any], Any]:
        """The passes of one optimizer step, each knowing how many targets of each task all of them have."""
        began, state = time.monotonic(), torch.get_rng_state()
        if self.ranks.world > 1:
            self.place = self.batches.state_dict()
        batches, lost, error = self._fetch(epoch_iterator, num_batches)
        torch.set_rng_state(state)  # whatever the data drew, the model's dropout goes on where it was
        own: Counter[str] = Counter()
        for batch in batches:
            own.update(batch.denominators)
        counted = [own[task] for task in self.tasks]
        gone, samples, tokens, *counts = map(int, self.ranks.agree([lost, *self.meter.count(batches), *counted], error))
        if gone:
            self.hooks.stop()
            self.hooks.save()
            self.control.should_training_stop = True
            return [], None
        self.place = None
        self.meter.fetched(samples, tokens, time.monotonic() - began)
        totals = {task: count for task, count in zip(self.tasks, counts, strict=True) if count}
        if self.first:
            self.first = False
            self.net.train()
            self.hooks.resumed()
            self.meter.start()
        self.engine.before()
        if self.private is not None:
            return [{"batch": batches}], None
        shared = [{"batch": replace(batch, denominators=totals)} for batch in batches]
        # Trainer makes a step of exactly so many passes; at the end of the data some have nothing to do
        return [{"batch": None}] * (num_batches - len(batches)) + shared, None

    def _fetch(self, iterator: Any, number: int) -> tuple[list[PackedBatch], bool, MmkitError | None]:
        """The batches of a step; whether the workers that should have made them are gone; what is wrong with them."""
        batches: list[PackedBatch] = []
        try:
            taken = islice(iterator, number)
            batches.extend(chain.from_iterable(taken) if self.private else taken)
            for batch in batches:
                self.hooks.batch(batch)
        except MmkitError as error:
            return batches, False, error
        except RuntimeError:
            if batches or not self.hooks.interrupted():
                raise
            # the signal also went to the data workers: there is nothing more to come, and the last step is whole
            return [], True, None
        if not batches and not self.private:  # a lot may be empty
            steps = f"{self.state.global_step} of {self.state.max_steps} steps"
            return batches, False, DataError(f"the data ended after {steps}")
        return batches, False, None

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Forward and backward of one pass; a batch of nothing, or that nothing trainable reads, moves nothing."""
        if self.private is None:
            return self._pass(model, inputs["batch"])
        for batch in inputs["batch"]:
            if batch.tasks:
                self._pass(model, batch, self.private.factors[batch.tasks[0]])
                self.private.add()
        return torch.zeros((), device=self.device)

    def _pass(self, model: nn.Module, given: PackedBatch | None, factor: float = 1.0) -> Tensor:
        if given is None or not given.tasks:
            return torch.zeros((), device=self.device)
        self.current = given
        batch = given.to(self.device)
        kind = self.device.type
        with torch.autocast(kind, dtype=torch.bfloat16) if self.autocast else nullcontext():
            outputs = model(batch)
        loss: Tensor = outputs["loss"] * factor if factor != 1.0 else outputs["loss"]
        shown = loss.detach() / self.private.stage.lot if self.private else loss.detach()
        self.passes.append(Pass(batch.addresses, shown, outputs["losses"]))
        if loss.requires_grad:
            self.accelerator.backward(loss)
        return loss.detach()

    def _clip_grad_norm(self, model: nn.Module) -> float:
        """Before the optimizer moves anything: clip, and stop where a loss or the gradient is no number."""
        self.engine.reduce()
        if self.private is not None:
            self.private.release()
        norm = total_norm(self.weights)
        numbers = self._numbers(norm)
        clip(self.weights, self.args.max_grad_norm, norm)
        self.passes.clear()
        self.meter.stepped(numbers.loss, numbers.sums, numbers.counts)
        return numbers.norm

    def _numbers(self, norm: Tensor) -> StepNumbers:
        """The losses of all ranks together, all finite, and the norm, finite too."""
        step = self.state.global_step + 1
        numbers, error = StepNumbers(0.0, 0.0, {}, {}), None
        try:
            numbers = read_step(self.passes, norm, step)
        except TrainingError as caught:
            error = caught
        if self.ranks.world > 1 or error is not None:
            numbers = self._together(numbers, error)
        check_gradient(numbers, self.passes, self.trained.parameters, step)
        return numbers

    def _together(self, own: StepNumbers, error: TrainingError | None) -> StepNumbers:
        """Sums over all ranks, which also agree here on whether to stop after this step."""
        loss, stopped, *rest = self.ranks.agree(
            [
                own.loss,
                self.hooks.interrupted(),
                *(own.sums.get(task, 0.0) for task in self.tasks),
                *(own.counts.get(task, 0) for task in self.tasks),
            ],
            error,
        )
        if stopped:
            self.hooks.stop()
        sums = dict(zip(self.tasks, rest[: len(self.tasks)], strict=True))
        counts = {task: int(n) for task, n in zip(self.tasks, rest[len(self.tasks) :], strict=True) if n}
        return StepNumbers(loss, own.norm, {task: sums[task] for task in counts}, counts)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trainer's log line, with the figures of the meter in place of its own; not its summary at the end."""
        if "loss" not in logs and "train_runtime" in logs:
            return
        if "loss" in logs:
            logs = {**self.meter.report(self.state.global_step), **{k: v for k, v in logs.items() if k != "loss"}}
        self.state.epoch = self.state.global_step / max(1, self.state.max_steps)  # of this stage
        super().log(logs, start_time)
        del self.state.log_history[:-100]  # it is written into every checkpoint

    def _evaluate(self, trial: Any, ignore_keys_for_eval: Any, skip_scheduler: bool = False) -> dict[str, float]:
        began = time.monotonic()
        figures = self.hooks.evaluate()
        self.net.train()
        self.log({f"eval_{name}": value for name, value in figures.items()})
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        self.meter.pause(time.monotonic() - began)
        return figures

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        began = time.monotonic()
        self.hooks.save()
        self.meter.pause(time.monotonic() - began)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """The weights are there already."""

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Through ``load``, which the run sets."""
        if checkpoint is not None:
            self.load(Path(checkpoint))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """After the first batches instead; see ``get_batch_samples``."""

    load: Callable[[Path], None]


class _Unsized:
    """Only the iteration of a loader."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __iter__(self) -> Any:
        return iter(self.batches)
