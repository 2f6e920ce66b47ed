"""Building architectures without memory for their weights.

The same idea as ``accelerate.init_empty_weights(include_buffers=False)``, whose import alone costs as much as torch's.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

_RANDOM = ("normal_", "uniform_", "bernoulli_", "exponential_", "log_normal_", "cauchy_", "random_", "geometric_")


@contextmanager
def empty_weights() -> Iterator[None]:
    """Every parameter registered inside goes to the meta device; buffers stay real. Not for several threads.

    Random initialisation of a meta tensor does nothing (torch would import its compiler to find that out: 0.9 s).
    """
    register = nn.Module.register_parameter

    def on_meta(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        register(self, name, param)
        if param is not None and param.device.type != "meta":
            kept: dict[str, Any] = {k: v for k, v in param.__dict__.items() if k != "requires_grad"}
            self._parameters[name] = type(param)(param.to("meta"), requires_grad=param.requires_grad, **kept)

    nn.Module.register_parameter = on_meta  # type: ignore[method-assign]
    for name in _RANDOM:
        setattr(Tensor, name, _skipped(getattr(Tensor, name)))
    try:
        yield
    finally:
        for name in _RANDOM:
            delattr(Tensor, name)  # the method of the base class shows again
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def _skipped(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(self: Tensor, *arguments: Any, **options: Any) -> Tensor:
        return self if self.is_meta else method(self, *arguments, **options)

    return run
