"""Words on colours, as a figure."""

import warnings
from typing import Any

from mmkit.explaining.heat import WIDTH, new_figure

_MOST = 400
"""Pieces of a text that are drawn; a page shows all."""
_SIZE, _LINE = 10, 0.26
"""Of letters in points, of a line in inches."""


def gap_of(pieces: tuple[str, ...]) -> str:
    """What stands between pieces: a blank between words, nothing between letters."""
    return " " if any(len(piece) > 1 for piece in pieces) else ""


def colour_of(number: float, strongest: float, sign: bool) -> tuple[float, float, float, float]:
    """Red raises the score, blue lowers it, green was read; the last of the four is how opaque it is."""
    strength = abs(number) / strongest if strongest else 0.0
    red, green, blue = ((200, 40, 40) if number > 0 else (40, 80, 200)) if sign else (10, 135, 84)
    return red / 255, green / 255, blue / 255, 0.75 * min(1.0, strength)


def written(pieces: tuple[str, ...], numbers: list[float], strongest: float, sign: bool, title: str) -> Any:
    """A figure of Matplotlib, as high as its lines need. Letters that Matplotlib's fonts lack are drawn as boxes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = new_figure(WIDTH, 1.0)
    figure.set_layout_engine("none")
    renderer: Any = FigureCanvasAgg(figure).get_renderer()
    shown = [*(piece.replace("\n", "⏎").replace("\t", "⇥") for piece in pieces[:_MOST])]
    more = [f"… {len(pieces) - _MOST} more"] if len(pieces) > _MOST else []
    left, across, line = 0.1, 0.1, 1
    placed = []
    gap = 0.09 if gap_of(pieces) else 0.01
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        for index, piece in enumerate([*shown, *more]):
            text = figure.text(0, 0, piece, fontsize=_SIZE, parse_math=False)
            wide = text.get_window_extent(renderer).width / figure.dpi
            if across + wide > WIDTH - left and across > left:
                across, line = left, line + 1
            placed.append((text, across, line))
            across += wide + gap
            if index < len(shown):
                text.set_bbox(
                    {"facecolor": colour_of(numbers[index], strongest, sign), "edgecolor": "none", "pad": 1.5}
                )
    high = (line + 1) * _LINE + 0.1
    figure.set_size_inches(WIDTH, high)
    figure.text(left / WIDTH, 1 - 0.16 / high, title, fontsize=8, va="center")
    for text, at, row in placed:
        text.set_position((at / WIDTH, 1 - (0.2 + row * _LINE) / high))
    return figure
