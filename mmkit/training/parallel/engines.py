"""Where weights and gradients are while a stage trains: in one process, or whole in every process."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmkit.model.model import Model
from mmkit.training.parallel.ranks import Ranks
from mmkit.training.stages import Trainable

BUCKET = 2**22
"""Numbers that are summed in one message; larger parameters travel alone, without being copied."""


class Engine(Protocol):
    """Between the trainer and the weights.

    Attributes:
        trained: the parameters that the optimizer moves.
    """

    trained: Trainable

    @property
    def net(self) -> nn.Module:
        """What the forward pass calls."""

    def before(self) -> None:
        """The passes of a step follow."""

    def reduce(self) -> None:
        """They are done: sum the gradients over all ranks. One that no rank has stays None."""

    def whole(self) -> AbstractContextManager[None]:
        """While it lasts, the model of the stage has all its weights, to be evaluated or saved; on all ranks."""

    def finish(self) -> None:
        """The stage is done: the model has its weights from now on."""


class Alone:
    """One process."""

    def __init__(self, model: Model, trained: Trainable) -> None:
        self.net = model
        self.trained = trained

    def before(self) -> None:
        """Nothing."""

    def reduce(self) -> None:
        """Nothing."""

    @contextmanager
    def whole(self) -> Iterator[None]:
        """They are there."""
        yield

    def finish(self) -> None:
        """Nothing."""


class Replicated:
    """``ddp``: every rank has all weights, and the gradients of a step are summed once its passes are done.

    Not ``DistributedDataParallel``: which parameters a pass reaches depends on the samples, and a rank may have no pass at
    all (see decision 18).
    """

    def __init__(self, model: Model, trained: Trainable) -> None:
        self.model, self.net, self.trained = model, model, trained
        self.weights = list(trained.parameters.values())

    def before(self) -> None:
        """Nothing."""

    def reduce(self) -> None:
        """See ``Engine``."""
        sum_gradients(self.weights)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """The weights are there; statistics of batches are made equal."""
        share_statistics(self.model)
        yield

    def finish(self) -> None:
        """Only the statistics differ."""
        share_statistics(self.model)


def fill_missing(weights: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    """Zeros for gradients that only other ranks have; the weights of which some rank has one, the same on all."""
    have = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.uint8)
    dist.all_reduce(have, op=dist.ReduceOp.MAX)
    chosen = [weight for weight, some in zip(weights, have.tolist(), strict=True) if some]
    for weight in chosen:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    return chosen


def sum_gradients(weights: Sequence[nn.Parameter]) -> None:
    """Sum over all ranks, small ones joined."""
    jobs = []
    for bucket in _buckets([weight.grad for weight in fill_missing(weights) if weight.grad is not None]):
        alone = len(bucket) == 1 and bucket[0].is_contiguous()
        flat = bucket[0] if alone else torch.cat([gradient.reshape(-1) for gradient in bucket])
        jobs.append((dist.all_reduce(flat, async_op=True), flat, [] if alone else bucket))
    for job, flat, bucket in jobs:
        job.wait()
        for gradient, part in zip(bucket, flat.split([g.numel() for g in bucket]) if bucket else [], strict=True):
            gradient.copy_(part.view_as(gradient))


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Of one type each."""
    kinds: dict[torch.dtype, list[Tensor]] = {}
    for gradient in gradients:
        kinds.setdefault(gradient.dtype, []).append(gradient)
    for given in kinds.values():
        bucket: list[Tensor] = []
        for gradient in given:
            if gradient.numel() >= BUCKET:
                yield [gradient]
                continue
            bucket.append(gradient)
            if sum(one.numel() for one in bucket) >= BUCKET:
                yield bucket
                bucket = []
        if bucket:
            yield bucket


@torch.no_grad()
def same_start(model: Model, ranks: Ranks) -> None:
    """Every rank begins with the first one's weights and buffers."""
    if ranks.world > 1:
        for tensor in [*model.parameters(), *model.buffers()]:
            dist.broadcast(tensor.data, src=0)


@torch.no_grad()
def share_statistics(model: nn.Module) -> None:
    """The mean over all ranks of the running statistics that batch normalisation keeps of its rank's own batches."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            for statistic in (module.running_mean, module.running_var):
                if statistic is not None:
                    dist.all_reduce(statistic)
                    statistic.div_(dist.get_world_size())
