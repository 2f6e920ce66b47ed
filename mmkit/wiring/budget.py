"""What a model costs before it exists: tokens per item, FLOPs, memory. No weight is read for it."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmkit.errors import SampleError
from mmkit.interfaces import Backbone, Batch, Fittable, HasExample
from mmkit.ragged import Ragged
from mmkit.wiring.construct import Parts

TOKENS = 128
"""Rows that a node without items of its own (a backbone, an adapter between nodes) is measured with."""
SMALL = 64_000_000
"""Parameters of the largest node that is run for real where it does not run on the meta device."""
STATES = 3
"""Numbers that training keeps beside a trainable one: its gradient, and AdamW's two moments."""


@dataclass(frozen=True)
class Nominal:
    """A typical item of one modality.

    Attributes:
        what: in words, "second of sound". features: rows of the encoder. tokens: rows of the stream.
        batch: what the encoder takes; None for a vocabulary or a continuous adapter.
        refused: why the adapter cannot take the item; ``tokens`` is then 0.
    """

    what: str
    features: int
    tokens: int
    batch: Batch | None = None
    refused: str = ""


def nominal_items(parts: Parts) -> dict[str, Nominal]:
    """An item of every modality whose processor, vocabulary or continuous adapter can show an example."""
    found = {}
    for name, vocabulary in parts.vocabularies.items():
        if isinstance(vocabulary, HasExample) and _fitted(vocabulary):
            what, raw = vocabulary.example()
            count = len(vocabulary.encode(raw))
            found[name] = Nominal(what, count, count)
    for name, written in parts.continuous.items():
        if isinstance(written, HasExample) and _fitted(written):
            found[name] = Nominal(written.example()[0], written.length, written.length)
    for name, encoder in parts.encoders.items():
        processor = encoder.processor()
        if isinstance(processor, HasExample) and _fitted(encoder):
            what, raw = processor.example()
            item = processor(raw)
            features = processor.num_features(item)
            batch, adapter = processor.collate([item]), parts.adapters.get(f"{name}.adapter")
            try:
                tokens = features if adapter is None else adapter.num_tokens(features)
                found[name] = Nominal(what, features, tokens, batch)
            except SampleError as error:
                found[name] = Nominal(what, features, 0, batch, str(error))
    return found


def _fitted(component: Any) -> bool:
    return not isinstance(component, Fittable) or component.fitted


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of a forward pass (a multiplication and an addition are two).

    Attributes:
        per: what they are for, ``item`` or ``token``.
        counted: by ``torch.utils.flop_counter``; else two per parameter and row, embedding tables left out.
    """

    number: int
    per: str
    counted: bool


def estimate(module: nn.Module) -> Flops:
    """Two operations a parameter and token: exact for linear layers, without the products of attention."""
    return Flops(2 * _multiplied(module), "token", False)


def count_encoder(module: nn.Module, item: Nominal) -> Flops:
    """For one item, counted where the encoder runs on the meta device or is small."""
    counted = _counted(module, lambda m, device: m(_moved(item.batch or {}, device)))
    return Flops(counted, "item", True) if counted else Flops(2 * _multiplied(module) * item.features, "item", False)


def count_adapter(module: nn.Module, in_dim: int, item: Nominal | None) -> Flops:
    """For one item, or for a token where there is none."""
    rows = item.features if item is not None else TOKENS
    counted = _counted(module, lambda m, device: m(_rows(rows, in_dim, device)))
    if item is None:
        return Flops(counted // TOKENS, "token", True) if counted else estimate(module)
    return Flops(counted, "item", True) if counted else Flops(2 * _multiplied(module) * rows, "item", False)


def count_backbone(module: Backbone, generates: bool) -> Flops:
    """For one of ``TOKENS`` tokens; half of them are targets where a head generates, and are given scores."""

    def run(backbone: Any, device: str) -> None:
        if not generates:
            backbone(_rows(TOKENS, backbone.token_dim, device))
            return
        half = _rows(TOKENS // 2, backbone.token_dim, device)
        backbone.logits(backbone(half, half).values)

    counted = _counted(module, run)
    return Flops(counted // TOKENS, "token", True) if counted else estimate(module)


def _counted(module: nn.Module, run: Callable[[Any, str], object]) -> int:
    """Of a run on the meta device, else of one with zeros for weights where they are few; 0 where neither can be
    counted (an operation fails, or is one that the counter does not know)."""
    from torch.utils.flop_counter import FlopCounterMode

    if any(isinstance(part, nn.RNNBase) for part in module.modules()):
        return 0  # the counter knows no recurrent kernel, and two per parameter and row is exact for them
    for device in ("meta", "cpu"):
        if device == "cpu" and sum(p.numel() for p in module.parameters()) > SMALL:
            continue
        try:
            with torch.no_grad(), FlopCounterMode(display=False) as counter, _AllReal():
                run(_hollow(module, device), device)
        except Exception:  # the operations are a plugin's own: any of them may need what a hollow copy lacks
            continue
        if counter.get_total_flops() >= _multiplied(module):
            return int(counter.get_total_flops())
    return 0


def _hollow(module: nn.Module, device: str) -> nn.Module:
    """A copy that can only be measured: no weights on the meta device, zeros on the CPU."""
    hollow = copy.deepcopy(module).eval().requires_grad_(False)
    if device == "meta":
        return hollow.to("meta")
    buffers = dict(hollow.named_buffers())
    hollow.to_empty(device="cpu")
    for parameter in hollow.parameters():
        parameter.zero_()
    for name, buffer in hollow.named_buffers():
        buffer.copy_(buffers[name])
    return hollow


class _AllReal(TorchDispatchMode):
    """Rows picked by a mask: all of them, since a batch of one item has no padding (meta tensors hold no mask)."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (
            func is torch.ops.aten.index.Tensor
            and args[0].is_meta
            and args[1][0] is not None
            and args[1][0].dtype is torch.bool
            and len(args[1]) == 1
        ):
            values, mask = args[0], args[1][0]
            return values.new_empty((mask.numel(), *values.shape[mask.dim() :]))
        return func(*args, **(kwargs or {}))


def _rows(count: int, width: int, device: str) -> Ragged:
    return Ragged(torch.zeros(count, width, device=device), torch.tensor([count]))


def _moved(batch: Batch, device: str) -> Batch:
    """Values on the device; lengths stay on the CPU, as in every batch."""
    moved: dict[str, Tensor | Ragged] = {}
    for name, value in batch.items():
        moved[name] = value if isinstance(value, Tensor) and name.endswith("lengths") else value.to(device)
    return moved


def _multiplied(module: nn.Module) -> int:
    """Parameters that every row is multiplied with: all but those of embedding tables, which are only looked up."""
    tables = {id(p) for m in module.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    return sum(p.numel() for p in module.parameters() if id(p) not in tables)


def training_bytes(parameters: Mapping[str, Tensor], trained: set[str]) -> int:
    """Weights, and for the trained ones gradient and optimizer state; no activations."""
    sizes = {name: p.numel() * p.element_size() for name, p in parameters.items()}
    return sum(size * (1 + STATES if name in trained else 1) for name, size in sizes.items())


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that libraries give about meta tensors."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
