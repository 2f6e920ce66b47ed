"""Heat maps of attributions, as figures of Matplotlib."""

import base64
import io
from typing import Any

import torch
from torch import Tensor

from mmkit.errors import MmkitError
from mmkit.explaining.explanation import Part
from mmkit.explaining.flat import flat

WIDTH = 8.0
"""Of a picture of an explanation, in inches; three maps that are about square stand beside each other."""
_MOST = 800
"""Longer maps are drawn with neighbours summed."""
RAISES, LOWERS, READ = "#d62020", "#2548d0", "#0a8754"
"""Colours: of what raises the score, of what lowers it, and of attention, which has no sign."""
TITLES = {
    "rollout": "attention (rollout)",
    "relevance": "attention × gradient",
    "features": "integrated gradients, of features",
}


def title_of(part: Part) -> str:
    """What a map of this part shows."""
    return TITLES.get(part.key, f"integrated gradients, of {part.key}")


def signed(part: Part) -> bool:
    """Whether numbers below zero speak against the answer; attention has none."""
    return part.key not in ("rollout", "relevance")


def new_figure(wide: float, high: float) -> Any:
    """An empty figure of Matplotlib, in inches.

    Raises:
        MmkitError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MmkitError(
            "pictures and pages of mmkit explain need Matplotlib, which is not installed: pip install 'mmkit[explain]'"
        ) from None
    return Figure(figsize=(wide, high), layout="constrained")


def heat_map(part: Part) -> Any:
    """The value in grey, or as a curve where it is one line; over it, in red what raises the score, in blue what lowers it,
    in green what was read.

    Raises:
        MmkitError: Matplotlib is not installed.
    """
    attribution, value = part.attribution, part.value
    if part.key == "features" and attribution.dim() > 1:
        attribution, value = attribution.sum(-1), value.mean(-1)
    heat, grey = _narrow(flat(attribution), mean=False), _narrow(flat(value, mean=True), mean=True)
    high, wide = heat.shape
    if high == 1:
        figure = new_figure(WIDTH, 1.7)
        axes = figure.add_subplot()
        _line(axes, grey[0], heat, part)
    else:
        figure = new_figure(*_sides(high, wide))
        axes = figure.add_subplot()
        axes.imshow(grey.numpy(), cmap="gray", aspect="auto", interpolation="nearest")
        overlay(axes, heat, signed(part))
        axes.set(xticks=[], yticks=[])
    axes.set_title(f"{title_of(part)} {'×'.join(map(str, part.value.shape))}", fontsize=8)
    return figure


def overlay(axes: Any, heat: Tensor, sign: bool = True, **options: Any) -> None:
    """Numbers over what is drawn already, Float["high wide"], as opaque as they are strong."""
    from matplotlib.colors import ListedColormap

    strongest = float(heat.abs().max()) or 1.0
    colours = {"cmap": ListedColormap([LOWERS, RAISES] if sign else [READ]), "vmin": -strongest, "vmax": strongest}
    strength = (strength_of(heat, sign) * 0.85).numpy()
    given = {"aspect": "auto", "interpolation": "nearest", "alpha": strength, **colours, **options}
    axes.imshow(heat.numpy(), **given)


def strength_of(heat: Tensor, sign: bool) -> Tensor:
    """How opaque numbers are, 0 … 1: those with a sign by the root of their size, those of attention from the least to the most."""
    if sign:
        return (heat.abs() / (heat.abs().max() or 1.0)).clamp(0, 1).sqrt()
    low, top = heat.min(), heat.max()
    return ((heat - low) / (top - low).clamp(min=1e-12 + 0.05 * float(top))).clamp(0, 1)


def _sides(high: int, wide: int) -> tuple[float, float]:
    """In inches: three maps beside each other where they are about square, else the whole width."""
    if wide <= 2 * high:
        return WIDTH / 3, max(1.2, min(5.0, WIDTH / 3 * high / wide)) + 0.25
    return WIDTH, max(1.4, WIDTH * high / wide) + 0.25


def _line(axes: Any, curve: Tensor, heat: Tensor, part: Part) -> None:
    low, top = float(curve.min()), float(curve.max())
    margin = 0.05 * (top - low) or 1.0
    places = (-0.5, len(curve) - 0.5, low - margin, top + margin)
    overlay(axes, heat, signed(part), extent=places)
    axes.plot(curve.numpy(), color="black", linewidth=0.8)
    axes.set(yticks=[], xlim=places[:2], ylim=places[2:])
    axes.tick_params(labelsize=7)


def _narrow(values: Tensor, mean: bool) -> Tensor:
    """At most ``_MOST`` columns."""
    block = -(-values.shape[1] // _MOST)
    if block <= 1:
        return values
    padded = torch.nn.functional.pad(values, (0, -values.shape[1] % block))
    blocks = padded.unflatten(1, (-1, block))
    return blocks.mean(-1) if mean else blocks.sum(-1)


def png(figure: Any, dpi: int = 110) -> bytes:
    """A figure of Matplotlib as a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def image(figure: Any, said: str) -> str:
    """A figure as an element of a page, as wide as it is in inches of 96 points."""
    content = base64.b64encode(png(figure)).decode()
    wide = round(figure.get_size_inches()[0] * 96)
    return f'<img alt="{said}" width="{wide}" src="data:image/png;base64,{content}">'
