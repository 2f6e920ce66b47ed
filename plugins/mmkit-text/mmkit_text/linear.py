"""What is a plain linear layer, whose weight may be used without calling it."""

from torch import Tensor, nn


def plain_linear(layer: nn.Module | None) -> tuple[Tensor, Tensor | None] | None:
    """Weight and bias of a linear layer that is just that: no adapter, no hook, no quantised weight."""
    if type(layer) is not nn.Linear or layer._forward_hooks or layer._forward_pre_hooks:
        return None
    return layer.weight, layer.bias
