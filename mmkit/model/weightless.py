"""A module without its weights: what a data worker needs to ask it for numbers of tokens and for targets."""

import copy
from typing import TypeVar

import torch
from torch import nn

_M = TypeVar("_M", bound=nn.Module)


def weightless(module: _M) -> _M:
    """The same object with parameters on the meta device and without hooks; everything else is shared, not copied.

    It pickles to a few kilobytes and says the same ``num_tokens(…)`` and ``target(…)``; buffers, which may hold tables
    that these methods need, are kept on the CPU.
    """
    twin = copy.copy(module)
    state = twin.__dict__
    state["_parameters"] = {name: _bare(parameter) for name, parameter in module._parameters.items()}
    state["_buffers"] = {name: buffer if buffer is None else _near(buffer) for name, buffer in module._buffers.items()}
    state["_modules"] = {name: child if child is None else weightless(child) for name, child in module._modules.items()}
    state.update({name: value for name, value in nn.Module().__dict__.items() if name.endswith(("_hooks", "_kwargs"))})
    return twin


def _bare(parameter: nn.Parameter | None) -> nn.Parameter | None:
    if parameter is None:
        return None
    return nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype, device="meta"), requires_grad=False)


def _near(buffer: torch.Tensor) -> torch.Tensor:
    return buffer if buffer.device.type in ("cpu", "meta") else buffer.cpu()
