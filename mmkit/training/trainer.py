"""Hugging Face Trainer over packed batches, with its silent failures turned off."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from mmkit.data.loading import PackedLoader, Quarantine
from mmkit.errors import TrainingError
from mmkit.model.batch import PackedBatch
from mmkit.model.model import Model


class PackedTrainer(Trainer):
    """Feeds ``PackedBatch`` to the model; losses are normalised over all passes of one optimizer step."""

    def __init__(self, model: Model, args: TrainingArguments, batches: PackedLoader, quarantine: Quarantine) -> None:
        super().__init__(model=model, args=args)
        self.batches = batches
        self.quarantine = quarantine
        self.model_accepts_loss_kwargs = True
        self.sums: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def get_train_dataloader(self) -> PackedLoader:  # type: ignore[override]
        """The packed loader as it is: batches are moved by ``_prepare_inputs``."""
        return self.batches

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list[Any], Any]:
        """The passes of one optimizer step, each knowing how many targets of each task all of them have."""
        batches: list[PackedBatch] = list(islice(epoch_iterator, num_batches))
        for batch in batches:
            self.quarantine.add(batch)
        totals: Counter[str] = Counter()
        for batch in batches:
            totals.update(batch.denominators)
        shared = [{"batch": replace(batch, denominators=dict(totals))} for batch in batches]
        return shared, torch.tensor(sum(totals.values()))

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {"batch": inputs["batch"].to(self.args.device)}

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The model's loss; a NaN or infinite one stops the run and names the samples.

        Raises:
            TrainingError: the loss is not finite.
        """
        outputs = model(inputs["batch"])
        loss = outputs["loss"]
        if not bool(torch.isfinite(loss)):
            wrong = [task for task, (value, _) in outputs["losses"].items() if not bool(torch.isfinite(value))]
            where = ", ".join(inputs["batch"].addresses[:5])
            raise TrainingError(
                f"the loss of task {', '.join(wrong or outputs['losses'])} is {float(loss.detach())} at step {self.state.global_step}; "
                f"samples: {where} …; the last saved model is untouched; try a lower lr, or look at these rows"
            )
        for task, (value, count) in outputs["losses"].items():
            self.sums[task] += value
            self.counts[task] += count
        return (loss, outputs) if return_outputs else loss

    def task_losses(self) -> dict[str, float]:
        """Mean loss per task since the last call."""
        means = {task: float(self.sums[task]) / max(1, self.counts[task]) for task in self.sums}
        self.sums.clear()
        self.counts.clear()
        return means


class Progress(TrainerCallback):
    """Reports steps and losses to a function, which may draw a bar or write a log."""

    def __init__(self, say: Callable[[int, int, dict[str, float]], None]) -> None:
        self.say = say

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Pass on what Trainer logs."""
        self.say(state.global_step, state.max_steps, logs or {})

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Pass on that a step is done."""
        self.say(state.global_step, state.max_steps, {})
