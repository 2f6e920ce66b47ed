"""Heat maps of attributions, as pictures inside a page."""

import base64
import io
from typing import Any

import torch
from torch import Tensor

from mmkit.errors import MmkitError
from mmkit.explaining.flat import flat

_WIDEST = 800
"""Longer maps are drawn with neighbours summed."""


def heat_map(attribution: Tensor, value: Tensor) -> str:
    """The value in grey, or as a curve where it is one line; over it, in red what raises the score, in blue what lowers it.

    Raises:
        MmkitError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MmkitError(
            "pages of mmkit explain need Matplotlib, which is not installed: pip install 'mmkit[explain]'"
        ) from None
    heat, grey = _narrow(flat(attribution), mean=False), _narrow(flat(value, mean=True), mean=True)
    high, wide = heat.shape
    figure = Figure(figsize=(6.0, 1.6 if high == 1 else max(1.2, min(6.0, 6.0 * high / wide))), layout="constrained")
    axes = figure.add_subplot()
    strongest = float(heat.abs().max()) or 1.0
    if high == 1:
        _line(axes, grey[0], heat, strongest)
    else:
        axes.imshow(grey.numpy(), cmap="gray", aspect="auto", interpolation="nearest", alpha=0.8)
        strength = (heat.abs() / strongest).sqrt().numpy()
        axes.imshow(
            heat.numpy(),
            cmap="bwr",
            aspect="auto",
            interpolation="nearest",
            alpha=strength,
            vmin=-strongest,
            vmax=strongest,
        )
        axes.set_xticks([])
        axes.set_yticks([])
    return f'<img alt="heat map" src="data:image/png;base64,{png(figure)}">'


def _line(axes: Any, curve: Tensor, heat: Tensor, strongest: float) -> None:
    low, top = float(curve.min()), float(curve.max())
    margin = 0.05 * (top - low) or 1.0
    places = (-0.5, len(curve) - 0.5, low - margin, top + margin)
    axes.imshow(heat.numpy(), cmap="bwr", aspect="auto", extent=places, vmin=-strongest, vmax=strongest, alpha=0.7)
    axes.plot(curve.numpy(), color="black", linewidth=0.8)
    axes.set_yticks([])


def _narrow(values: Tensor, mean: bool) -> Tensor:
    """At most ``_WIDEST`` columns."""
    block = -(-values.shape[1] // _WIDEST)
    if block <= 1:
        return values
    padded = torch.nn.functional.pad(values, (0, -values.shape[1] % block))
    blocks = padded.unflatten(1, (-1, block))
    return blocks.mean(-1) if mean else blocks.sum(-1)


def png(figure: Any) -> str:
    """A figure of Matplotlib as a PNG in base 64."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return base64.b64encode(buffer.getvalue()).decode()
