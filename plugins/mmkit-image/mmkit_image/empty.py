"""Architectures that cannot be built while parameters go to the meta device."""

from collections.abc import Callable
from typing import TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def build_anyway(make: Callable[[], Module]) -> Module:
    """Build a module where parameters may be sent to the meta device as they are registered.

    Some constructors compute buffers from their parameters' device and fail there (SwinV2's coordinate table).
    Those are built with real parameters, so that the buffers are right, and the parameters are then dropped.
    """
    if not nn.LayerNorm(1).weight.is_meta:  # a layer that draws no random numbers
        return make()
    try:
        return make()
    except (NotImplementedError, RuntimeError):
        pass
    sending = nn.Module.register_parameter
    nn.Module.register_parameter = _register  # type: ignore[method-assign]
    try:
        module = make()
    finally:
        nn.Module.register_parameter = sending  # type: ignore[method-assign]
    empty: dict[int, nn.Parameter] = {}
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                new = nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)
                part._parameters[name] = empty.setdefault(id(parameter), new)
    return module


def _register(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
    """What ``Module.register_parameter`` does once it has checked its arguments."""
    self._parameters[name] = param
