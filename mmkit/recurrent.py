"""Recurrent layers in an exported graph, for items of any length."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mmkit.ragged import Padded

Step = Callable[[Any, Tensor], tuple[Any, Tensor]]


def padded_recurrent(layers: nn.RNNBase, rows: Padded) -> Padded:
    """States of the last layer, as ``layers`` gives them for packed sequences: what lies behind the end of an item is not read.

    torch unrolls its own layers to the length that it sees, so the steps are a scan here, which is a loop in the graph.

    Args:
        layers: LSTM or GRU in evaluation mode, one or both directions. rows: Float["total in_dim"].

    Raises:
        TypeError: another kind of layer, or one with a projection.
    """
    if not isinstance(layers, nn.LSTM | nn.GRU) or layers.proj_size:
        raise TypeError(
            f"{type(layers).__name__} layers of this kind cannot be exported; LSTM and GRU without proj_size can"
        )
    x, back = rows.values, _backwards(rows)
    for layer in range(layers.num_layers):
        ways = [_read(layers, x, f"_l{layer}")]
        if layers.bidirectional:
            ways.append(_taken(_read(layers, _taken(x, back), f"_l{layer}_reverse"), back))
        x = torch.cat(ways, dim=-1)
    return rows.unpad(x)


def _backwards(rows: Padded) -> Int[Tensor, "items longest"]:
    """Where each row is when every item is read from its end; its own inverse."""
    place = torch.arange(rows.longest, device=rows.device)[None, :]
    return torch.where(rows.mask, rows.lengths[:, None] - 1 - place, place)


def _taken(
    x: Float[Tensor, "items longest dim"], places: Int[Tensor, "items longest"]
) -> Float[Tensor, "items longest dim"]:
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[2]))


def _read(
    layers: nn.RNNBase, x: Float[Tensor, "items longest dim"], name: str
) -> Float[Tensor, "items longest hidden"]:
    """One layer in one direction."""
    from torch._higher_order_ops.scan import scan  # the one loop that both torch.export and ONNX have

    inner, outer = getattr(layers, f"weight_hh{name}"), getattr(layers, f"weight_ih{name}")
    inner_bias, outer_bias = getattr(layers, f"bias_hh{name}", None), getattr(layers, f"bias_ih{name}", None)
    start = x.new_zeros(x.shape[0], layers.hidden_size)
    given = functional.linear(x, outer, outer_bias).transpose(0, 1)
    if isinstance(layers, nn.LSTM):
        states = scan(_lstm(inner, inner_bias), (start, start.clone()), given, dim=0)[1]
    else:
        states = scan(_gru(inner, inner_bias), start, given, dim=0)[1]
    return states.transpose(0, 1)


def _lstm(weight: Tensor, bias: Tensor | None) -> Step:
    """Hochreiter & Schmidhuber 1997, gates in the order of torch."""

    def step(state: tuple[Tensor, Tensor], row: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        enter, forget, new, show = (row + functional.linear(state[0], weight, bias)).chunk(4, dim=-1)
        cell = forget.sigmoid() * state[1] + enter.sigmoid() * new.tanh()
        hidden = show.sigmoid() * cell.tanh()
        return (hidden, cell), hidden.clone()

    return step


def _gru(weight: Tensor, bias: Tensor | None) -> Step:
    """Cho et al. 2014, in torch's form: the reset gate works behind the product."""

    def step(state: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        reset, keep, new = row.chunk(3, dim=-1)
        own_reset, own_keep, own_new = functional.linear(state, weight, bias).chunk(3, dim=-1)
        fresh = (new + (reset + own_reset).sigmoid() * own_new).tanh()
        share = (keep + own_keep).sigmoid()
        hidden = share * state + (1 - share) * fresh
        return hidden, hidden.clone()

    return step
