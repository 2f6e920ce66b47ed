"""Low-rank adapters on named linear layers, through ``peft``: attached, merged into the weights, or kept apart.

LoRA: Hu et al. 2021; DoRA: Liu et al. 2024; QLoRA (frozen weights in 4 or 8 bits): Dettmers et al. 2023.
"""

import copy
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from mmkit.errors import CheckpointError
from mmkit.model.quantize import plain_weight, quantized

if TYPE_CHECKING:
    from mmkit.model.model import Model

NAME = "default"  # peft's name of an adapter


@dataclass(frozen=True)
class Lora:
    """One set of adapters.

    Attributes:
        modules: full names of the layers, from the model. r: rank. alpha: the update is scaled by alpha / r.
        merge: fold into the weights when the stage ends and whenever the model is saved. bits: of the frozen weights.
    """

    modules: tuple[str, ...]
    r: int
    alpha: float
    dropout: float = 0.0
    dora: bool = False
    merge: bool = True
    bits: int | None = None


def adaptable(model: nn.Module) -> dict[str, nn.Module]:
    """Every layer that can take an adapter, by its full name. Subclasses of ``nn.Linear`` are left out: their owners
    read the weight without calling the layer (``nn.MultiheadAttention``), so an adapter there would do nothing."""
    from transformers.pytorch_utils import Conv1D

    return {name: module for name, module in model.named_modules() if type(module) in (nn.Linear, Conv1D)}


def attach(model: "Model", lora: Lora) -> None:
    """Put fresh adapters on the layers; they change nothing until they are trained."""
    from peft import LoraConfig, inject_adapter_in_model

    pattern = "|".join(re.escape(name) for name in lora.modules)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=cast("int", lora.alpha),
        lora_dropout=lora.dropout,
        use_dora=lora.dora,
        target_modules=pattern,
    )
    inject_adapter_in_model(config, model, adapter_name=NAME)
    model.lora.append(lora)


def quantize(model: "Model") -> None:
    """Hold the frozen weights under adapters in the bits that these ask for, until they are merged.

    Raises:
        TrainingError: bitsandbytes is not installed.
    """
    for lora in model.lora:
        for name in lora.modules if lora.bits else ():
            wrapped = cast("Any", model.get_submodule(name))
            wrapped.base_layer = quantized(wrapped.base_layer)


def merge(model: "Model") -> int:
    """Fold the adapters that are to be merged into the weights of their layers; how many layers."""
    count = 0
    for lora in [one for one in model.lora if one.merge]:
        for name in lora.modules:
            _replace(model, name, _merged_layer(model.get_submodule(name)))
        count += len(lora.modules)
        model.lora.remove(lora)
    if not model.lora and hasattr(model, "peft_config"):
        del model.peft_config
    return count


def state_to_save(model: "Model", merged: bool) -> dict[str, Tensor]:
    """``state_dict`` with full-precision weights, and with the adapters folded in as ``merge`` would do; the model is
    left as it is."""
    state = model.state_dict()
    for lora in model.lora:
        for name in lora.modules:
            layer = model.get_submodule(name)
            if merged and lora.merge:
                base = _merged_layer(layer).state_dict()
                kept = {f"{name}.{key}": value for key, value in base.items()}
                inside = f"{name}."
            elif lora.bits:
                kept = {f"{name}.base_layer.weight": plain_weight(cast("Any", layer).base_layer)}
                inside = f"{name}.base_layer.weight"
            else:
                continue
            for key in [key for key in state if key.startswith(inside)]:
                del state[key]
            state.update(kept)
    return state


def plain_name(name: str) -> str:
    """The name that a weight has without an adapter around its layer."""
    return name.replace(".base_layer.", ".")


def records(loras: Sequence[Lora]) -> list[dict[str, Any]]:
    """For ``lora.json``."""
    return [asdict(lora) for lora in loras]


def from_records(given: Any, where: object) -> list[Lora]:
    """Back from ``lora.json``.

    Raises:
        CheckpointError: it is not what ``records`` wrote.
    """
    try:
        return [Lora(**{**one, "modules": tuple(one["modules"])}) for one in given]
    except (TypeError, KeyError) as error:
        raise CheckpointError(f"{where} does not describe adapters: {error}") from None


@torch.no_grad()
def _merged_layer(layer: nn.Module) -> nn.Module:
    """A new layer: the one under the adapter, with the update added to its weight."""
    wrapped = cast("Any", layer)
    base, weight = wrapped.base_layer, plain_weight(wrapped.base_layer)
    if NAME in wrapped.lora_variant:
        weight = wrapped.lora_variant[NAME].merge_safe(wrapped, NAME, weight)
    else:
        weight = weight + wrapped.get_delta_weight(NAME).to(weight.dtype)
    made: nn.Module
    if isinstance(base, nn.Linear):
        made = nn.Linear(base.in_features, base.out_features, bias=False, device="meta")
    else:
        made = copy.copy(base)  # transformers' Conv1D
        made._parameters = dict(base._parameters)
    made.weight = nn.Parameter(weight)
    made.bias = base.bias
    return made.train(base.training)


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    owner, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(owner), attribute, layer)
