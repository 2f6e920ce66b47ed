"""``fsdp2``: every rank keeps a part of the weights, of their summed gradients and of the optimizer's state.

Through torch's ``fully_shard`` (Zhao et al. 2023, in its second version). Its collectives are issued here, around the
passes of a step and in one order, not by its hooks inside them: which modules a pass calls, and how often, depends on
the samples of each rank (see decision 18).
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from mmkit.errors import SpecError
from mmkit.model.model import Model
from mmkit.spec.schema import Train
from mmkit.training.parallel.engines import fill_missing, share_statistics, sum_gradients
from mmkit.training.parallel.ranks import Ranks
from mmkit.training.stages import Trainable, frozen_encoders, parameters_of
from mmkit.wiring.graph import Plan


class Step(nn.Module):
    """The root of what is sharded; called without a batch it gives something to run a backward pass from."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Any) -> dict[str, Any]:
        """The model's outputs."""
        if batch is None:
            return {"loss": torch.zeros((), requires_grad=True)}
        outputs: dict[str, Any] = self.model(batch)
        return outputs


class Sharded:
    """A twin of the model shares its tensors but for the sharded weights, and trains in its place; the model itself has
    these weights only while they are asked for, so that whatever reads it sees an ordinary one.

    Whole on every rank stay frozen encoders, whose features may come from a cache, and parameters without dimensions.
    """

    def __init__(self, model: Model, trained: Trainable, ranks: Ranks) -> None:
        self.model = model
        device = ranks.device()
        frozen = [model.parts.encoders[name] for name in frozen_encoders(model)]
        kept = {p for encoder in frozen for p in encoder.parameters()} | {p for p in model.parameters() if not p.dim()}
        twin = _twin(model)
        self.net = Step(twin)
        mesh = init_device_mesh(device.type, (ranks.world,))
        for unit in [*_units(twin, kept), self.net]:
            own = [p for p in unit.parameters() if p not in kept]
            fully_shard(unit, mesh=mesh, reshard_after_forward=False, ignored_params=kept)
            for parameter in own:  # the model's own as well: its memory goes now
                if type(parameter.data) is Tensor:
                    parameter.data = torch.empty(0, dtype=parameter.dtype, device=device)
        for tensor in [*kept, *model.buffers()]:
            tensor.data = tensor.data.to(device)
        self.units = [unit for unit in self.net.modules() if isinstance(unit, FSDPModule)]
        for unit in self.units:
            unit.set_gradient_divide_factor(1.0)
            unit.set_force_sum_reduction_for_comms(True)  # gloo knows no scaled sum
        named = parameters_of(twin)
        self.trained = Trainable({name: named[name] for name in trained.parameters}, trained.rates, trained.table)
        alone = [name for name, parameter in trained.parameters.items() if parameter in kept]
        self.alone = [named[name] for name in alone]
        self.parted = [name for name in trained.parameters if name not in set(alone)]
        self.missing = {name: p for name, p in model.named_parameters() if p not in kept}

    def before(self) -> None:
        """Gather all weights; nothing inside the passes waits for another rank."""
        for unit in self.units:
            unit.unshard()
        self._collectives(False)

    def reduce(self) -> None:
        """See ``Engine``. Afterwards a rank has its part of weights and gradients again."""
        named = parameters_of(self.net.model)
        fill_missing([named[name] for name in self.parted])
        self._collectives(True)
        self.net(None)["loss"].backward()
        sum_gradients(self.alone)

    def _collectives(self, on: bool) -> None:
        for unit in self.units:
            unit.set_requires_gradient_sync(on, recurse=False)
            unit.set_reshard_after_backward(on, recurse=False)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """The model's weights are the gathered ones."""
        share_statistics(self.net)
        for unit in self.units:
            unit.unshard()
        gathered = dict(self.net.model.named_parameters())
        for name, parameter in self.missing.items():
            parameter.data = gathered[name].data
        try:
            yield
        finally:
            for parameter in self.missing.values():
                parameter.data = parameter.data.new_empty(0)
            for unit in self.units:
                unit.reshard()

    def finish(self) -> None:
        """The model gets memory of its own."""
        with self.whole():
            weights = {name: parameter.data.clone() for name, parameter in self.missing.items()}
        for name, parameter in self.missing.items():
            parameter.data = weights[name]


def check_shardable(planned: Plan, settings: Train) -> None:
    """Refuse what cannot be sharded.

    Raises:
        SpecError: weights in four bits.
    """
    problems = [
        planned.source.problem(
            ("train", "stages", index, "lora", "bits"), "weights in 4 bits cannot be sharded", "use parallel: ddp"
        )
        for index, stage in enumerate(settings.stages)
        if stage.lora and stage.lora.bits
    ]
    if problems:
        raise SpecError(problems)


def _twin(model: Model) -> Model:
    """The same modules anew, over the same tensors."""
    shared = [*model.parameters(), *model.buffers(), model.plan, *model.vocabularies.values(), *model.caches.values()]
    return copy.deepcopy(model, {id(one): one for one in shared})


def _units(twin: Model, kept: set[nn.Parameter]) -> list[nn.Module]:
    """The nodes that are sharded each for itself: those that share no weight with another."""
    owners: dict[int, set[str]] = {}
    for node, module in twin.nodes().items():
        for parameter in module.parameters():
            owners.setdefault(id(parameter), set()).add(node)
    return [
        module
        for module in twin.nodes().values()
        if any(p not in kept for p in module.parameters())
        and all(len(owners[id(parameter)]) == 1 for parameter in module.parameters())
    ]
