"""Frozen linear layers in 4-bit NormalFloat while their adapters train (Dettmers et al. 2023, QLoRA), by bitsandbytes.

Quantising the dequantised weight again gives the same bits (blocks of 64 with their largest value kept, no second
quantisation), so saved weights are always plain ones, and training resumes exactly.
"""

from typing import Any

from torch import Tensor, nn

from mmkit.errors import TrainingError


def quantized(layer: nn.Module) -> nn.Module:
    """A 4-bit layer with the weight of an ``nn.Linear``.

    Raises:
        TrainingError: bitsandbytes is not installed, or the layer is of another kind.
    """
    bnb = require_bitsandbytes()
    if type(layer) is not nn.Linear:
        raise TrainingError(f"lora.bits: a {type(layer).__name__} cannot be quantised; leave out lora.bits")
    kept = layer.weight
    made = bnb.nn.Linear4bit(
        layer.in_features,
        layer.out_features,
        bias=False,
        compute_dtype=kept.dtype,
        compress_statistics=False,
        quant_type="nf4",
    )
    made.weight = bnb.nn.Params4bit(
        kept.detach().clone(), requires_grad=False, compress_statistics=False, quant_type="nf4"
    )
    made.bias = layer.bias
    made.support_avx512bf16_for_cpu = False  # an evaluation would repack the weight for inference, and round otherwise
    moved: nn.Module = made.to(kept.device)
    return moved


def plain_weight(layer: nn.Module) -> Tensor:
    """The weight of a layer, dequantised where it is quantised."""
    weight: Any = layer.weight
    state = getattr(weight, "quant_state", None)
    if state is None:
        return weight.detach()
    full: Tensor = require_bitsandbytes().functional.dequantize_4bit(weight.data, state)
    return full.to(getattr(layer, "compute_dtype", full.dtype))


def require_bitsandbytes() -> Any:
    """The module.

    Raises:
        TrainingError: it is not installed.
    """
    try:
        import bitsandbytes
    except ImportError:
        raise TrainingError(
            "lora.bits needs bitsandbytes, which is not installed; fix: pip install 'mmkit[qlora]', or leave out lora.bits"
        ) from None
    return bitsandbytes
