"""What a checkpoint holds beside the model: optimizer, schedule, random states. safetensors and JSON, no pickle."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mmkit.errors import CheckpointError

OPTIMIZER = "optimizer.safetensors"
RANDOM = "random.safetensors"


def save_optimizer(optimizer: torch.optim.Optimizer, names: dict[int, str], folder: Path) -> list[dict[str, Any]]:
    """Write every tensor under ``parameter/entry``.

    Args:
        names: id of a parameter → its name.

    Returns:
        the groups, JSON-able, with the names of their parameters.
    """
    tensors: dict[str, Tensor] = {}
    for parameter, state in optimizer.state.items():
        for entry, value in state.items():
            tensor = value if isinstance(value, Tensor) else torch.tensor(value)
            tensors[f"{names[id(parameter)]}/{entry}"] = tensor.detach().cpu().contiguous()
    save_file(tensors, folder / OPTIMIZER)
    return [{**group, "params": [names[id(p)] for p in group["params"]]} for group in optimizer.param_groups]


def load_optimizer(
    optimizer: torch.optim.Optimizer, parameters: dict[str, nn.Parameter], groups: list[dict[str, Any]], folder: Path
) -> None:
    """Bring back what ``save_optimizer`` wrote.

    Raises:
        CheckpointError: the groups hold other parameters.
    """
    here = [[id(parameter) for parameter in group["params"]] for group in optimizer.param_groups]
    there = [[id(parameters.get(name)) for name in group["params"]] for group in groups]
    if here != there:
        raise CheckpointError(f"{folder} has the optimizer state of other parameters than the ones that train here")
    state: dict[int, dict[str, Tensor]] = {}
    number = {name: index for index, name in enumerate(name for group in groups for name in group["params"])}
    with safe_open(folder / OPTIMIZER, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118
            name, _, entry = key.rpartition("/")
            # a copy of its own: memory-mapped tensors are not aligned, and aligned kernels round otherwise
            state.setdefault(number[name], {})[entry] = file.get_tensor(key).clone()
    numbered = [{**group, "params": [number[name] for name in group["params"]]} for group in groups]
    optimizer.load_state_dict({"state": state, "param_groups": [_tuples(group) for group in numbered]})


def save_random(folder: Path) -> dict[str, Any]:
    """Write the states of every generator a forward pass may use; the rest of them, JSON-able, is returned."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    tensors = {"torch": torch.get_rng_state(), "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64))}
    if torch.cuda.is_available():
        tensors |= {f"cuda{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())}
    save_file(tensors, folder / RANDOM)
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [str(name), int(position), int(has_gauss), float(cached)],
    }


def load_random(folder: Path, rest: dict[str, Any]) -> None:
    """Bring back what ``save_random`` wrote; generators of devices that are not here are left out."""
    with safe_open(folder / RANDOM, framework="pt") as file:
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
    version, numbers, gauss = rest["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, position, has_gauss, cached = rest["numpy"]
    np.random.set_state((name, tensors["numpy"].numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(tensors["torch"])
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if f"cuda{index}" in tensors:
            torch.cuda.set_rng_state(tensors[f"cuda{index}"], index)


def own_memory(model: nn.Module) -> None:
    """Copy parameters and buffers that lie in a mapped file into aligned memory, so that a run and its resumption
    compute with the same kernels."""
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.data_ptr() % 64:
            tensor.data = tensor.data.clone()


def _tuples(group: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) and key != "params" else value for key, value in group.items()}
