"""The gradient of a private step: per sample, clipped, summed, noised."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mmkit.errors import TrainingError
from mmkit.model.model import Model
from mmkit.training.privacy.budget import Budget, StageBudget, require_opacus


class PrivateGradient:
    """Sums clipped gradients one sample at a time, then lets noise in, through Opacus' ``DPOptimizer``.

    A packed batch has no batch dimension, so Opacus' hooks on layers do not apply; a sample's gradient is that of a pass
    over this sample alone, exact for every layer. Only one is held at a time.

    Args:
        parameters: that the stage trains and its data reaches.
    """

    def __init__(self, model: Model, parameters: Sequence[nn.Parameter], budget: Budget, stage: StageBudget) -> None:
        opacus = require_opacus()
        self.model, self.budget, self.stage = model, budget, stage
        self.parameters: list[Any] = list(parameters)  # Any: Opacus hangs its own attributes on them
        self.optimizer: Any = opacus.optimizers.DPOptimizer(
            torch.optim.SGD(self.parameters, lr=0.0),  # never steps: the run's own optimizer moves the weights
            noise_multiplier=budget.noise_multiplier,
            max_grad_norm=budget.options.clip,
            expected_batch_size=stage.lot,
            generator=budget.generator,
        )
        saved = model.state_dict().keys()
        self.buffers = {name: buffer.clone() for name, buffer in model.named_buffers() if name in saved}

    @property
    def factors(self) -> Mapping[str, float]:
        """Per task, by what a sample's loss is multiplied."""
        return self.stage.factors

    def add(self) -> None:
        """Take the gradient that the pass over one sample has left."""
        for parameter in self.parameters:
            gradient = parameter.grad
            given = torch.zeros((), device=parameter.device).expand(parameter.shape) if gradient is None else gradient
            parameter.grad_sample = given[None]
            parameter.grad = None
        self.optimizer.signal_skip_step(True)
        self.optimizer.pre_step()
        self._forget()

    def release(self) -> None:
        """Leave the noised mean in ``grad`` and count the step.

        Raises:
            TrainingError: a component has kept something of the samples in a buffer.
        """
        self._check_buffers()
        for parameter in self.parameters:
            parameter.grad_sample = parameter.new_zeros(0, *parameter.shape)  # ends the sum, also an empty one
        self.optimizer.pre_step()
        self._forget()
        for parameter in self.parameters:
            parameter.summed_grad = None
        self.budget.stepped(self.stage)

    def _forget(self) -> None:
        for parameter in self.parameters:
            parameter.grad_sample = None

    def _check_buffers(self) -> None:
        now = dict(self.model.named_buffers())
        for name, buffer in self.buffers.items():
            if not torch.equal(now[name], buffer):
                raise TrainingError(
                    f"train.privacy: the pass has changed the buffer {name}, which is saved with the model and has no "
                    "noise; freeze this node, or use a component that keeps nothing of its batches"
                )
