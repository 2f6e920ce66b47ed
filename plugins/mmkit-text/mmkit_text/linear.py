"""Linear layers: which are plain, so that their weight may be used without calling them, and few rows times one."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_BLOCK = 2**16  # weights in a block of rows, 256 KB: where blocks stay in the cache of a core


def plain_linear(layer: nn.Module | None) -> tuple[Tensor, Tensor | None] | None:
    """Weight and bias of a linear layer that is just that: no adapter, no hook, no quantised weight."""
    if type(layer) is not nn.Linear or layer._forward_hooks or layer._forward_pre_hooks:
        return None
    if type(layer.weight).__module__.startswith("torchao"):
        return None
    return layer.weight, layer.bias


def few_rows(
    x: Float[Tensor, "rows width"], weight: Float[Tensor, "out width"], bias: Float[Tensor, " out"] | None = None
) -> Float[Tensor, "rows out"]:
    """A linear layer, for decoding: on a CPU a few rows times blocks of the weight take up to half the time of a few
    rows times all of it. Up to rounding it is the same."""
    rows = x.shape[0]
    if not 1 < rows < 13 or x.device.type != "cpu" or weight.dtype != x.dtype:
        return functional.linear(x, weight, bias)
    out, width = weight.shape
    block = 1 << max(4, (_BLOCK // width).bit_length() - 1)
    if out % block or out == block:
        return functional.linear(x, weight, bias)
    blocks = weight.view(out // block, block, width).transpose(1, 2)
    read = (x @ blocks).transpose(0, 1).reshape(rows, out)
    return read if bias is None else read + bias
