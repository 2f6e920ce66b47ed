"""What speaks for an answer, drawn over the picture as the encoder read it."""

import math
from typing import Any

import torch
from torch import Tensor

from mmkit_image.processor import ImageProcessor

_INCHES = 2.66
_COLOURS = {True: ["#2548d0", "#d62020"], False: ["#0a8754", "#0a8754"]}


def draw(column: Any, part: Any) -> Any:
    """A figure: red raises the score, blue lowers it; green was read by attention. None where numbers have no places on the
    picture: encoders of other plugins, rows that are no square grid.

    Args:
        column: of an ``mmkit.Explanation``. part: one of its parts; ``pixels``, or one number (of features: one row) for each
            row of the encoder, line by line, an odd one in front being its class token.
    """
    if not isinstance(column.reader, ImageProcessor):
        return None
    heat = part.attribution.sum(0) if part.key == "pixels" else _grid(part)
    if heat is None:
        return None
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    picture = column.reader.pictures(column.items[part.item]["pixels"][None])[0].convert("L")
    side, sign = picture.width, part.key not in ("rollout", "relevance")
    figure = Figure(figsize=(_INCHES, _INCHES + 0.25), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(picture, cmap="gray", vmin=-60, vmax=315, extent=(0, side, side, 0), interpolation="nearest")
    strongest = float(heat.abs().max()) or 1.0
    axes.imshow(
        heat.numpy(),
        cmap=ListedColormap(_COLOURS[sign]),
        vmin=-strongest,
        vmax=strongest,
        alpha=_strength(heat, sign).numpy() * 0.8,
        extent=(0, side, side, 0),
        interpolation="nearest",
    )
    axes.set(xticks=[], yticks=[])
    titles = {"rollout": "attention (rollout)", "relevance": "attention × gradient"}
    axes.set_title(titles.get(part.key, f"integrated gradients, of {part.key}"), fontsize=8)
    return figure


def _grid(part: Any) -> Tensor | None:
    """Float["high wide"]; None where there are too few rows, or they are no square."""
    rows: Tensor = part.attribution.sum(-1) if part.key == "features" else part.attribution
    side = math.isqrt(len(rows))
    if rows.dim() != 1 or side < 2 or len(rows) - side * side > 1:
        return None
    return torch.as_tensor(rows[len(rows) - side * side :]).reshape(side, side)


def _strength(heat: Tensor, sign: bool) -> Tensor:
    """0 … 1: numbers with a sign by the root of their size, those of attention from the least to the most."""
    if sign:
        return (heat.abs() / heat.abs().max().clamp(min=1e-30)).sqrt()
    low, top = heat.min(), heat.max()
    return (heat - low) / (top - low).clamp(min=1e-30 + 0.05 * float(top))
