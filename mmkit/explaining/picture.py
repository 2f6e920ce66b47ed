"""The picture of an explanation: one PNG with everything in it."""

import io
import warnings
from typing import Any

import numpy as np

from mmkit.explaining.explanation import Explanation, Part
from mmkit.explaining.heat import WIDTH, heat_map, new_figure, png, signed, title_of
from mmkit.explaining.page import NOT_WHY, answer_of, strongest_of
from mmkit.explaining.plugged import drawn
from mmkit.explaining.written import written

_DPI = 150


def picture(given: Explanation) -> bytes:
    """A PNG: what each modality decided, and every column with what was attributed to it.

    Raises:
        MmkitError: Matplotlib is not installed. PluginError: a plugin's drawing fails.
    """
    strongest = strongest_of(given)
    figures = [_head(given)]
    for column in given.columns:
        figures.append(_text(column.name, 11, bold=True))
        looked = given.attention.columns.get(column.name, ()) if given.attention is not None else ()
        own = [_figure(column, part, strongest) for part in (*column.parts, *looked)]
        figures += own or [_text("The task does not read it.", 9)]
    sum_up = f"Integrated gradients, {given.steps} steps; they add up to score − baseline with an error of {given.error:.2g}."
    figures.append(_text(sum_up if given.attention is None else f"{sum_up}\n{NOT_WHY}", 7))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        return _stacked(figures)


def _figure(column: Any, part: Part, strongest: dict[str, float]) -> Any:
    if part.pieces:
        return written(part.pieces, part.attribution.tolist(), strongest[part.key], signed(part), title_of(part))
    found = drawn(column, part)
    return heat_map(part) if isinstance(found, str) else found  # HTML is for pages


def _head(given: Explanation) -> Any:
    """Answer and score, and what each modality decided."""
    kinds = {"gradients": given.modalities}
    if given.shapley:
        kinds["Shapley"] = given.shapley
    if given.attention is not None:
        kinds["attention × gradient"] = by_modality(given, given.attention.relevance)
    names = list(given.modalities)
    figure = new_figure(WIDTH, 1.2 + 0.16 * len(names) * len(kinds))
    answer = answer_of(given)
    answer = f"{answer[:77]}…" if len(answer) > 78 else answer
    figure.suptitle(f"{given.task}: {answer}", fontsize=13, fontweight="bold", x=0.01, ha="left", parse_math=False)
    axes = figure.add_subplot()
    high = 0.8 / len(kinds)
    for place, (kind, shares) in enumerate(kinds.items()):
        at = [index + (place - (len(kinds) - 1) / 2) * high for index in range(len(names))]
        bars = axes.barh(at, [shares.get(name, 0.0) for name in names], high * 0.9, label=kind, color=_BARS[kind])
        axes.bar_label(bars, [f"{shares.get(name, 0.0):.0%}" for name in names], fontsize=7, padding=2)
    axes.set_yticks(range(len(names)), names, fontsize=9, parse_math=False)
    axes.set(xlim=(0, 1.08), xticks=[])
    axes.invert_yaxis()
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=len(kinds))
    what = f"{given.words}: {given.score:.4g}; with nothing in its columns {given.baseline:.4g}. How much each modality decided:"
    axes.set_title(what, fontsize=8, loc="left", parse_math=False)
    return figure


_BARS = {"gradients": "#4a6fa5", "Shapley": "#c77d2e", "attention × gradient": "#0a8754"}


def by_modality(given: Explanation, shares: Any) -> dict[str, float]:
    """Shares of columns, summed over those of one modality."""
    found: dict[str, float] = {}
    for column in given.columns:
        found[column.modality] = found.get(column.modality, 0.0) + shares.get(column.name, 0.0)
    return found


def _text(said: str, size: int, bold: bool = False) -> Any:
    figure = new_figure(WIDTH, (0.1 + 0.022 * size) * (1 + said.count("\n")))
    figure.set_layout_engine("none")
    weight = "bold" if bold else "normal"
    figure.text(0.012, 0.5, said, fontsize=size, fontweight=weight, va="center", parse_math=False)
    return figure


def _stacked(figures: list[Any]) -> bytes:
    """One below the other; narrow ones side by side as long as they fit."""
    from matplotlib.image import imsave

    whole, lines = round(WIDTH * _DPI), [list["np.ndarray"]()]
    for figure in figures:
        one = _drawn(figure, _DPI)
        if one.shape[1] > whole:
            one = _drawn(figure, _DPI * whole // one.shape[1])[:, :whole]
        if lines[-1] and sum(other.shape[1] for other in lines[-1]) + one.shape[1] > whole + 3:
            lines.append([])
        lines[-1].append(one)
    heights = [max(one.shape[0] for one in line) for line in lines]
    sheet = np.ones((sum(heights), whole, 3), dtype=np.float32)
    for top, line in zip(np.cumsum([0, *heights]), lines, strict=False):
        left = 0
        for one in line:
            part = sheet[top : top + one.shape[0], left : left + one.shape[1]]
            part[:] = one[:, : part.shape[1]]
            left += one.shape[1]
    buffer = io.BytesIO()
    imsave(buffer, sheet, format="png")
    return buffer.getvalue()


def _drawn(figure: Any, dpi: int) -> "np.ndarray":
    """Red, green and blue, 0 … 1, on white."""
    from matplotlib.image import imread

    drawn = imread(io.BytesIO(png(figure, dpi)))
    return np.asarray(drawn[..., :3] * drawn[..., 3:] + (1 - drawn[..., 3:]))
