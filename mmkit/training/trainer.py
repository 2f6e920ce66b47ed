"""Hugging Face Trainer over packed batches, with its silent failures turned off."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from mmkit.errors import DataError
from mmkit.model.batch import PackedBatch
from mmkit.model.model import Model
from mmkit.training.faults import Pass, read_step
from mmkit.training.meter import Meter
from mmkit.training.stages import Trainable


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
        """Whether a signal has come."""

    def save(self) -> None:
        """Write a checkpoint."""

    def evaluate(self) -> dict[str, float]:
        """Figures on held-out rows."""


class PackedTrainer(Trainer):
    """Feeds ``PackedBatch`` to the model; losses are normalised over all passes of one optimizer step.

    Trainer's own saving and loading is replaced: it pickles, chooses broken checkpoints, and knows no packed data.
    """

    def __init__(
        self,
        model: Model,
        args: TrainingArguments,
        batches: Batches,
        trained: Trainable,
        meter: Meter,
        hooks: Hooks,
        autocast: bool,
    ) -> None:
        super().__init__(model=model, args=args)
        for callback in (PrinterCallback, ProgressCallback):
            self.remove_callback(callback)
        self.net = model
        self.batches, self.trained, self.meter, self.hooks = batches, trained, meter, hooks
        self.autocast = autocast
        self.weights = list(trained.parameters.values())
        self.passes: list[Pass] = []
        self.current: PackedBatch | None = None
        self.first = True

    def get_train_dataloader(self) -> Any:
        """The packed loader as it is: without a length, so that Trainer counts steps, not epochs."""
        return _Unsized(self.batches)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW over the trainable parameters, one group for each learning rate, with and without weight decay."""
        decayed = set(self.get_decay_parameter_names(self.net))
        full = {id(parameter): name for name, parameter in self.net.named_parameters()}
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in self.trained.parameters.items():
            key = (self.trained.rates[name], full[id(parameter)] in decayed)
            groups.setdefault(key, []).append(parameter)
        kind, options = self.get_optimizer_cls_and_kwargs(self.args)
        self.optimizer = kind(
            [
                {"params": parameters, "lr": rate, "weight_decay": self.args.weight_decay if decay else 0.0}
                for (rate, decay), parameters in groups.items()
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
        batches: list[PackedBatch] = []
        try:
            batches.extend(islice(epoch_iterator, num_batches))
        except RuntimeError:
            if batches or not self.hooks.interrupted():
                raise
            # the signal also went to the data workers: there is nothing more to come, and the last step is whole
            self.hooks.save()
            self.control.should_training_stop = True
            return [], None
        torch.set_rng_state(state)  # whatever the data drew, the model's dropout goes on where it was
        if not batches:
            raise DataError(f"the data ended after {self.state.global_step} of {self.state.max_steps} steps")
        self.meter.fetched(batches, time.monotonic() - began)
        totals: Counter[str] = Counter()
        for batch in batches:
            self.hooks.batch(batch)
            totals.update(batch.denominators)
        if self.first:
            self.first = False
            self.net.train()
            self.hooks.resumed()
            self.meter.start()
        shared = [{"batch": replace(batch, denominators=dict(totals))} for batch in batches]
        # Trainer makes a step of exactly so many passes; at the end of the data some have nothing to do
        return [{"batch": None}] * (num_batches - len(batches)) + shared, None

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Forward and backward of one pass; a batch that nothing trainable reads moves nothing."""
        if inputs["batch"] is None:
            return torch.zeros((), device=self.args.device)
        self.current = inputs["batch"]
        batch = inputs["batch"].to(self.args.device)
        kind = self.args.device.type
        with torch.autocast(kind, dtype=torch.bfloat16) if self.autocast else nullcontext():
            outputs = model(batch)
        loss: Tensor = outputs["loss"]
        self.passes.append(Pass(batch.addresses, loss.detach(), outputs["losses"]))
        if loss.requires_grad:
            self.accelerator.backward(loss)
        return loss.detach()

    def _clip_grad_norm(self, model: nn.Module) -> float:
        """Before the optimizer moves anything: clip, and stop where a loss or the gradient is no number."""
        norm = nn.utils.get_total_norm([weight.grad for weight in self.weights if weight.grad is not None])
        numbers = read_step(self.passes, norm, self.trained.parameters, self.state.global_step + 1)
        nn.utils.clip_grads_with_norm_(self.weights, self.args.max_grad_norm, norm)
        self.passes.clear()
        self.meter.stepped(numbers.loss, numbers.sums, numbers.counts)
        return numbers.norm

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


class Flow(TrainerCallback):
    """Decides when to evaluate, save and stop, and passes on steps and figures.

    Args:
        every: steps between evaluations and between checkpoints. interrupted: whether a signal has come.
        report: is given the step, the steps, and the figures where there are any.
    """

    def __init__(
        self,
        evaluate_every: int | None,
        save_every: int | None,
        evaluates: bool,
        interrupted: Callable[[], bool],
        report: Callable[[int, int, Mapping[str, float]], None],
    ) -> None:
        self.evaluate_every, self.save_every, self.evaluates = evaluate_every, save_every, evaluates
        self.interrupted, self.report = interrupted, report

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A step is done."""
        at, last = state.global_step, state.global_step >= state.max_steps
        self.report(at, state.max_steps, {})
        control.should_evaluate = self.evaluates and (last or _due(at, self.evaluate_every))
        control.should_save = not last and (_due(at, self.save_every) or self.interrupted())
        control.should_training_stop = last or self.interrupted()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Trainer logs."""
        self.report(state.global_step, state.max_steps, logs or {})


def _due(at: int, every: int | None) -> bool:
    return every is not None and at % every == 0
