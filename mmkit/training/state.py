"""What a checkpoint holds beside the model: optimizer, schedule, random states. safetensors and JSON, no pickle."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from mmkit.errors import CheckpointError

OPTIMIZER = "optimizer.safetensors"
RANDOM = "random.safetensors"


def optimizer_state(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Every tensor under ``parameter/entry``, gathered where ranks hold parts of it (all of them call this); and the
    options, JSON-able, with the names of the parameters they are for."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        for entry, value in optimizer.state.get(parameter, {}).items():
            tensor = value if isinstance(value, Tensor) else torch.tensor(value)
            whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            tensors[f"{name}/{entry}"] = whole.detach().cpu().contiguous()
    names = {id(parameter): name for name, parameter in parameters.items()}
    groups: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        own = [names[id(parameter)] for parameter in group["params"]]
        options = {key: value for key, value in group.items() if key != "params"}
        same = next((g for g in groups if {**g, "params": None} == {**options, "params": None}), None)
        if same is None:
            groups.append({**options, "params": own})
        else:
            same["params"] += own
    order = {name: place for place, name in enumerate(parameters)}
    for group in groups:
        group["params"].sort(key=order.__getitem__)
    return tensors, groups


def load_optimizer(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], groups: list[dict[str, Any]], folder: Path
) -> None:
    """Bring back what ``optimizer_state`` gave, written to ``folder``; a sharded parameter takes its part.

    Raises:
        CheckpointError: the groups hold other parameters.
    """
    options = {name: _tuples(group) for group in groups for name in group["params"]}
    if options.keys() != parameters.keys():
        raise CheckpointError(f"{folder} has the optimizer state of other parameters than the ones that train here")
    names = {id(parameter): name for name, parameter in parameters.items()}
    order = [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    number = {name: index for index, name in enumerate(order)}
    state: dict[int, dict[str, Tensor]] = {}
    with safe_open(folder / OPTIMIZER, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118
            name, _, entry = key.rpartition("/")
            # a copy of its own: memory-mapped tensors are not aligned, and aligned kernels round otherwise
            state.setdefault(number[name], {})[entry] = _part(file.get_tensor(key).clone(), parameters[name])
    numbered = []
    for group in optimizer.param_groups:
        own = [names[id(parameter)] for parameter in group["params"]]
        numbered.append({**options[own[0]], "params": [number[name] for name in own]})
    optimizer.load_state_dict({"state": state, "param_groups": numbered})


def _part(whole: Tensor, parameter: nn.Parameter) -> Tensor:
    """Of a tensor like the parameter, what this rank holds."""
    if not isinstance(parameter, DTensor) or not whole.dim():
        return whole
    return distribute_tensor(
        whole.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None
    )


def schedule_state(schedule: torch.optim.lr_scheduler.LRScheduler) -> dict[str, Any]:
    """Where a schedule is; not its rates, one a group of the optimizer, which may be grouped otherwise on other ranks."""
    return {key: value for key, value in schedule.state_dict().items() if key in ("last_epoch", "_step_count")}


def load_schedule(schedule: torch.optim.lr_scheduler.LRScheduler, state: Mapping[str, Any]) -> None:
    """Go there; the optimizer has been loaded."""
    now = [group["lr"] for group in schedule.optimizer.param_groups]
    schedule.load_state_dict({**schedule.state_dict(), **state, "_last_lr": now})


def random_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The states of every generator a forward pass may use: tensors, and the rest, JSON-able."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    tensors = {"torch": torch.get_rng_state(), "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64))}
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    return tensors, {
        "python": [version, list(numbers), gauss],
        "numpy": [str(name), int(position), int(has_gauss), float(cached)],
    }


def load_random(folder: Path, rank: int, rest: dict[str, Any]) -> None:
    """Bring back what ``random_state`` gave on this rank; that of a GPU only where there is one."""
    with safe_open(folder / RANDOM, framework="pt") as file:
        tensors = {
            key.partition("/")[2]: file.get_tensor(key).clone()
            for key in file.keys()  # noqa: SIM118
            if key.startswith(f"{rank}/")
        }
    version, numbers, gauss = rest["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, position, has_gauss, cached = rest["numpy"]
    np.random.set_state((name, tensors["numpy"].numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(tensors["torch"])
    if torch.cuda.is_available() and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"])


def own_memory(model: nn.Module) -> None:
    """Copy parameters and buffers that lie in a mapped file into aligned memory, so that a run and its resumption
    compute with the same kernels."""
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.data_ptr() % 64:
            tensor.data = tensor.data.clone()


def _tuples(group: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) and key != "params" else value for key, value in group.items()}
