"""A decoding step of language models built like Llama (Touvron et al. 2023), without the calls between their modules.

At one row an item, what a module costs to call is more than what it computes. This is only how; whether a model is
built this way is tried against its own code (``CausalLm``), so an architecture that differs anywhere keeps that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mmkit_text.linear import few_rows, plain_linear
from mmkit_text.slot_cache import SlotCache

Weights = tuple[Tensor, Tensor | None]

_BLOCK = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}
_ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
_MLP = {"gate_proj", "up_proj", "down_proj", "act_fn"}


class Norm:
    """x / √(mean(x²) + ε) · w as x / hypot(|x|, √(nε)) · √n w, which is half the operations."""

    def __init__(self, weight: Float[Tensor, " n"], epsilon: float) -> None:
        self.weight, self.epsilon = weight, epsilon
        self.scaled, self.floor = weight * len(weight) ** 0.5, weight.new_tensor((len(weight) * epsilon) ** 0.5)

    def __call__(self, x: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows n"]:
        """In low precision as torch does it, in float32."""
        if x.dtype != torch.float32 or self.weight.dtype != torch.float32:
            return functional.rms_norm(x, self.weight.shape, self.weight, self.epsilon)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return x.div(length.hypot_(self.floor)).mul_(self.scaled)


@dataclass(frozen=True)
class Layer:
    """The weights of one block."""

    before: Norm
    query: Weights
    key: Weights
    value: Weights
    out: Weights
    query_norm: Norm | None
    key_norm: Norm | None
    after: Norm
    gate: Weights
    up: Weights
    down: Weights
    activation: Callable[[Tensor], Tensor]
    head_dim: int
    scaling: float


@dataclass(frozen=True)
class LeanStep:
    """The weights of a model, as they are now."""

    layers: list[Layer]
    norm: Norm
    rotary: Callable[..., tuple[Tensor, Tensor]]

    @classmethod
    def of(cls, trunk: nn.Module) -> "LeanStep | None":
        """None where a model has other parts, adapters or hooks."""
        blocks, rotary = getattr(trunk, "layers", None), getattr(trunk, "rotary_emb", None)
        text: Any = getattr(trunk, "config", None)
        kinds = set(getattr(text, "layer_types", None) or [])
        slides = bool(getattr(text, "sliding_window", None)) and not kinds
        if blocks is None or rotary is None or slides or not kinds <= {"full_attention"}:
            return None
        layers, norm = [_layer(block) for block in blocks], _norm(getattr(trunk, "norm", None))
        if norm is None or any(layer is None for layer in layers):
            return None
        return cls([layer for layer in layers if layer is not None], norm, rotary)

    def __call__(
        self, x: Float[Tensor, "items dim"], positions: Int[Tensor, " items"], cache: SlotCache
    ) -> Float[Tensor, "items dim"]:
        """States of one more row an item; ``cache`` has made room for it."""
        cos, sin = self.rotary(x[:, None], positions[:, None])
        first, second = sin.chunk(2, dim=-1)
        turns = cos, torch.cat([-first, second], dim=-1)
        for index, layer in enumerate(self.layers):
            x = x + _attend(layer, layer.before(x), turns, cache, index)
            h = layer.after(x)
            h = layer.activation(few_rows(h, *layer.gate)) * few_rows(h, *layer.up)
            x = x + few_rows(h, *layer.down)
        return self.norm(x)


def _attend(layer: Layer, h: Tensor, turns: tuple[Tensor, Tensor], cache: SlotCache, index: int) -> Tensor:
    items, half = len(h), layer.head_dim // 2
    query = few_rows(h, *layer.query).view(items, -1, layer.head_dim)
    key = few_rows(h, *layer.key).view(items, -1, layer.head_dim)
    value = few_rows(h, *layer.value).view(items, -1, layer.head_dim)
    if layer.query_norm is not None and layer.key_norm is not None:
        query, key = layer.query_norm(query), layer.key_norm(key)
    heads = query.shape[1]
    both = torch.cat([query, key], dim=1)
    both = torch.addcmul(both * turns[0], both.roll(half, -1), turns[1])  # a half turn swaps the halves
    query, key = both.unsqueeze(2).split_with_sizes([heads, both.shape[1] - heads], 1)
    cache.write(index, key, value.unsqueeze(2))
    read = cache.read(index, query, None, layer.scaling)
    return few_rows(read.view(items, -1), *layer.out)


def _layer(block: nn.Module) -> Layer | None:
    attention, mlp = getattr(block, "self_attn", None), getattr(block, "mlp", None)
    names = [{name for name, _ in part.named_children()} for part in (block, attention, mlp) if part is not None]
    if len(names) != 3 or names[0] != _BLOCK or names[1] - {"q_norm", "k_norm"} != _ATTENTION or names[2] != _MLP:
        return None
    if block._forward_hooks or block._forward_pre_hooks:
        return None
    linears = [plain_linear(getattr(attention, name)) for name in ("q_proj", "k_proj", "v_proj", "o_proj")]
    linears += [plain_linear(getattr(mlp, name)) for name in ("gate_proj", "up_proj", "down_proj")]
    norms = [_norm(getattr(block, name)) for name in ("input_layernorm", "post_attention_layernorm")]
    heads = [_norm(getattr(attention, name, None)) for name in ("q_norm", "k_norm")]
    if None in norms or any(linear is None for linear in linears) or len(names[1]) != 4 + 2 * (None not in heads):
        return None
    query, key, value, out, gate, up, down = linears
    return Layer(
        *(norms[0], query, key, value, out, heads[0], heads[1], norms[1], gate, up, down),  # type: ignore[arg-type]
        activation=mlp.act_fn,  # type: ignore[union-attr]
        head_dim=int(attention.head_dim),  # type: ignore[union-attr]
        scaling=float(attention.scaling),  # type: ignore[union-attr]
    )


def _norm(module: nn.Module | None) -> Norm | None:
    """Weight and epsilon of a layer that normalises by the root mean square and has nothing else."""
    weight = getattr(module, "weight", None)
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if (
        not isinstance(weight, Tensor)
        or weight.dim() != 1
        or epsilon is None
        or getattr(module, "bias", None) is not None
    ):
        return None
    return Norm(weight, float(epsilon))
