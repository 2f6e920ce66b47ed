"""Flow matching: the vectors of the output column, made out of noise in a few steps."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mmkit import BuildContext, ContinuousAdapter, Loss, Metric, PluginError, Ragged, TaskHead
from mmkit_tasks.flow_path import drawn_times, guided, integrate, on_path
from mmkit_tasks.velocity import Condition, Reader, VelocityNet

_PROBES = 4
"""Times at which a loss is measured in evaluation mode."""


class Flow(TaskHead):
    """A velocity from noise to data is regressed on the straight path between them (Lipman et al. 2023, equation 14; the
    rectified flow of Liu et al. 2023), and followed to predict. It writes all vectors of a value at once.

    Attributes:
        steps, solver, guidance, seed: how values are made; may be changed at any time.
    """

    def __init__(
        self,
        continuous: ContinuousAdapter,
        reader: Reader,
        network: VelocityNet,
        condition_dropout: float,
        times: Literal["uniform", "logit-normal"],
        steps: int,
        solver: Literal["euler", "midpoint", "heun"],
        guidance: float,
        seed: int,
    ) -> None:
        super().__init__()
        self.continuous, self.condition_dropout, self.times = continuous, condition_dropout, times
        self.steps, self.solver, self.guidance, self.seed = steps, solver, guidance, seed
        self.reader, self.network = reader, network
        # Not a generator: a graph that torch.compile makes holds none.
        self.register_buffer("probe", self._noise(0), persistent=False)

    def target(self, raw: Any) -> Float[Tensor, " numbers"]:
        """The vectors, laid end to end.

        Raises:
            SampleError: the adapter cannot encode the value.
        """
        return self.continuous.encode(raw).flatten()

    def loss(self, features: Sequence[Ragged], targets: Ragged) -> Loss:
        """Summed over samples, of the mean squared error of the velocity.

        In training mode noise, times and what is learnt without a condition are drawn from the global generators; in
        evaluation mode every sample has the same noise and four times, so that losses can be compared.
        """
        data = targets.values.float().view(len(targets), self.continuous.length, self.continuous.dim)
        condition = self.reader(features[0])
        if self.training:
            noise, times = torch.randn_like(data), drawn_times(len(data), self.times, data)
            if self.condition_dropout:
                dropped = torch.rand(len(data), device=data.device) < self.condition_dropout
                condition = self.reader.without(condition, dropped)
        else:
            condition, count = condition.repeated(_PROBES), len(data)
            data = data.repeat_interleave(_PROBES, 0)
            noise = self.get_buffer("probe").to(data.dtype).expand_as(data)
            times = ((torch.arange(_PROBES, device=data.device) + 0.5) / _PROBES).repeat(count)
        point, velocity = on_path(data, noise, times)
        errors = (self.network(point, times, condition).float() - velocity).square().mean((1, 2))
        return Loss(errors.sum() * (len(targets) / len(data)), len(targets))

    @torch.no_grad()
    def predict(self, features: Sequence[Ragged], seeds: Sequence[int] | None = None) -> list[Any]:
        """The decoded value of each sample.

        Args:
            seeds: one a sample, in place of the head's own for all.
        """
        condition = self.reader(features[0])
        items = len(features[0])
        noise = torch.stack([self._noise(self.seed if seeds is None else seeds[item]) for item in range(items)])
        noise = noise.to(features[0].device)
        vectors = integrate(lambda x, t: self._velocity(x, t, condition), noise, self.steps, self.solver)
        return [self.continuous.decode(value) for value in vectors.float().cpu()]

    def _velocity(
        self, x: Float[Tensor, "items n width"], times: Float[Tensor, " items"], condition: Condition
    ) -> Float[Tensor, "items n width"]:
        """With and without the condition in one pass."""
        if self.guidance == 1:
            return self.network(x, times, condition).float()
        nothing = self.reader.without(condition, torch.ones(len(x), dtype=torch.bool, device=x.device))
        both = self.network(torch.cat([x, x]), torch.cat([times, times]), condition.joined(nothing)).float()
        return guided(both[: len(x)], both[len(x) :], self.guidance)

    def _noise(self, seed: int) -> Float[Tensor, "n width"]:
        """From a generator of its own, on the CPU: the same on every device."""
        shape = (self.continuous.length, self.continuous.dim)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    def metrics(self) -> list[Metric]:
        """None of its own: what is like a picture or a sound is for the task's `metrics` to say."""
        return []


def build(
    context: BuildContext,
    *,
    dim: int,
    layers: int,
    heads: int,
    pool: str,
    attend: bool,
    condition_dropout: float,
    times: Literal["uniform", "logit-normal"],
    steps: int,
    solver: Literal["euler", "midpoint", "heun"],
    guidance: float,
    seed: int,
) -> Flow:
    """A writer of the output column's vectors."""
    written = context.continuous
    if written is None:
        raise PluginError("head 'flow': its output column is not of a modality of vectors; see columns in the task")
    reader = Reader(context.dims[0], dim, pool, attend, condition_dropout > 0)
    network = VelocityNet((written.length, written.dim), dim, layers, heads, attend)
    return Flow(written, reader, network, condition_dropout, times, steps, solver, guidance, seed)
