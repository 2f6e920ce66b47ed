"""The processes of one run, as torchrun or accelerate started them: who they are, and what they agree on."""

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from mmkit import errors
from mmkit.errors import MmkitError, Problem, SpecError, TrainingError
from mmkit.spec.schema import Train
from mmkit.wiring.graph import Plan

COMMAND = "torchrun --nproc-per-node 2 -m mmkit train SPEC"
_RUNS = itertools.count()
_joined: list[dist.Store] = []  # where the processes met, once they have


@dataclass(frozen=True)
class Ranks:
    """One of ``world`` processes; alone it is rank 0 of 1 and every method is free.

    Attributes:
        local: rank among the processes of this machine. store: notes that outlive a process; None when alone.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    store: dist.Store | None = None

    @property
    def first(self) -> bool:
        """The one that writes and prints."""
        return self.rank == 0

    def agree(self, values: Sequence[float], error: MmkitError | None = None) -> list[float]:
        """Sums over all ranks, in double precision. An error of one rank is raised on all of them.

        Raises:
            MmkitError: the error of the lowest rank that has one.
        """
        if self.world == 1:
            if error is not None:
                raise error
            return list(values)
        given = torch.tensor([float(error is not None), *values], dtype=torch.float64)
        dist.all_reduce(given)
        failed, *sums = given.tolist()
        if failed:
            raise next(_unpacked(given) for given in self.gather(_packed(error)) if given is not None)
        return sums

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in order, on each of them."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def from_first(self, value: Any) -> Any:
        """The first rank's value."""
        if self.world == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def device(self) -> torch.device:
        """Where this rank computes: a GPU of its own, where there are any.

        Raises:
            TrainingError: fewer GPUs than processes on this machine.
        """
        if not torch.cuda.is_available():
            return torch.device("cpu")
        if self.world == 1:
            return torch.device("cuda")
        there = torch.cuda.device_count()
        if self.local >= there:
            raise TrainingError(
                f"local rank {self.local} has no GPU of its own: this machine has {there}; start at most {there} "
                "processes on it, or hide the GPUs (CUDA_VISIBLE_DEVICES=) to train on its CPUs"
            )
        torch.cuda.set_device(self.local)
        return torch.device("cuda", self.local)


def connect(planned: Plan, settings: Train) -> Ranks:
    """Meet the other processes of this launch; alone without any.

    Raises:
        SpecError: ``train.parallel`` is given and this is the only process.
    """
    world = dist.get_world_size() if dist.is_initialized() else int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        if settings.parallel is not None:
            message = f"{settings.parallel} needs several processes, and this run has one"
            fix = f"start it by {COMMAND} (or accelerate launch), or leave parallel out"
            raise SpecError([planned.source.problem(("train", "parallel"), message, fix)])
        return Ranks()
    return join()


def join() -> Ranks:
    """Meet the other processes that the environment tells of."""
    if not dist.is_initialized():
        store, rank, world = next(rendezvous("env://"))
        _joined.append(store)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=dist.PrefixStore("group", store), rank=rank, world_size=world)  # type: ignore[attr-defined]
    rank = dist.get_rank()
    notes = dist.PrefixStore(f"run{next(_RUNS)}", _joined[0]) if _joined else None  # type: ignore[attr-defined]
    return Ranks(rank, world, int(os.environ.get("LOCAL_RANK", rank)), notes)


def _packed(error: MmkitError | None) -> tuple[str, str | tuple[Problem, ...]] | None:
    if error is None:
        return None
    return type(error).__name__, error.problems if isinstance(error, SpecError) else str(error)


def _unpacked(given: tuple[str, str | tuple[Problem, ...]]) -> MmkitError:
    kind: Any = getattr(errors, given[0], TrainingError)
    made: MmkitError = kind(given[1])
    return made
