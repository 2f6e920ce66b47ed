"""Linear layers of a loaded model in fewer bits, for prediction: int8 by torchao, nf4 by bitsandbytes. What is saved is never that."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from mmkit.errors import MmkitError, nearest
from mmkit.model.quantize import quantized

if TYPE_CHECKING:
    from mmkit.model.model import Model


def compact(model: "Model", kind: str) -> int:
    """Hold the weights of the linear layers of backbones and encoders in fewer bits; how many layers.

    Heads, adapters, embeddings, and layers that give scores of ids stay as they are. ``int8``: one scale an output row, symmetric;
    ``nf4``: 4-bit NormalFloat in blocks of 64 (Dettmers et al. 2023).

    Raises:
        MmkitError: no such kind, its library is not installed, or the model is held in fewer bits already.
    """
    if model.compacted:
        raise MmkitError(f"this model is held with quantize({model.compacted!r}) already; load it anew")
    if kind not in KINDS:
        raise MmkitError(f"quantize {kind!r}: {nearest(kind, list(KINDS))}")
    module, extra, change = KINDS[kind]
    try:
        __import__(module)
    except ImportError:
        raise MmkitError(
            f"quantize {kind!r} needs {module}, which is not installed; fix: pip install 'mmkit[{extra}]', or leave out quantize"
        ) from None
    found = layers(model)
    for owner, name in found:
        change(owner, name)
    for kept in (*model.parameters(), *model.buffers()):
        if type(kept) in (Tensor, nn.Parameter):
            kept.data = kept.data.clone()  # no longer of the file, whose mapping is let go with all that was read of it
    model.compacted = kind
    return len(found)


def require_whole(model: "Model", doing: str) -> None:
    """Refuse a model in fewer bits where its weights are to be written.

    Raises:
        MmkitError: it is one.
    """
    if model.compacted:
        raise MmkitError(f"a model with quantize({model.compacted!r}) is not {doing}; load it anew, and take that")


def layers(model: "Model") -> list[tuple[nn.Module, str]]:
    """Owner and attribute of every linear layer that is held in fewer bits. Subclasses of ``nn.Linear`` are left out: their owners read the
    weight without calling the layer."""
    scoring = [backbone.output_layer() for backbone in model.parts.backbones.values()]
    kept = {id(table.weight) for table in model.modules() if isinstance(table, nn.Embedding)}
    kept |= {id(layer[0]) for layer in scoring if layer is not None}
    found = []
    for part in (*model.parts.backbones.values(), *model.parts.encoders.values()):
        for owner in part.modules():
            for name, child in owner.named_children():
                if type(child) is nn.Linear and id(child.weight) not in kept:
                    found.append((owner, name))
    return found


def _int8(owner: nn.Module, name: str) -> None:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    layer = getattr(owner, name)
    layer.requires_grad_(False)
    quantize_(layer, Int8WeightOnlyConfig(set_inductor_config=False))


def _nf4(owner: nn.Module, name: str) -> None:
    setattr(owner, name, quantized(getattr(owner, name)))


KINDS: dict[str, tuple[str, str, Callable[[nn.Module, str], Any]]] = {
    "int8": ("torchao", "quantize", _int8),
    "nf4": ("bitsandbytes", "qlora", _nf4),
}
"""Kind → the module that does it, the extra that has it, and how a layer is changed."""
