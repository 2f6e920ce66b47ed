"""Recordings in reports, and in explanations with what in them made an answer."""

import base64
import io
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure


def takes(value: Any) -> bool:
    """No model of this plugin makes recordings."""
    return False


def html(value: Any) -> str:
    """A curve."""
    figure = Figure(figsize=(8, 1.8), layout="constrained")
    figure.add_subplot().plot(np.asarray(value, dtype=float), color="black", linewidth=0.8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return f'<img alt="recording" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def file(value: Any) -> tuple[str, bytes]:
    """A number a line."""
    return "txt", "\n".join(map(str, value)).encode()


def attribution(column: Any, part: Any) -> Figure:
    """The recording over seconds, on red where it speaks for the answer, on blue where against it; on green where it was read."""
    signal, rate = column.items[part.item]["ecg"].numpy(), column.reader.rate
    numbers = part.attribution if part.attribution.dim() == 1 else part.attribution.sum(-1)  # of samples, or of rows
    read = {"rollout": "attention (rollout)", "relevance": "attention × gradient"}.get(part.key)
    strength = numbers - numbers.min() if read else numbers.abs()
    strongest = float(numbers.abs().max()) or 1.0
    figure = Figure(figsize=(8, 1.8), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(np.arange(len(signal)) / rate, signal, color="black", linewidth=0.7)
    axes.imshow(
        numbers[None].numpy(),
        cmap=ListedColormap(["#0a8754", "#0a8754"] if read else ["#2548d0", "#d62020"]),
        vmin=-strongest,
        vmax=strongest,
        alpha=(strength / strength.max().clamp(min=1e-30))[None].sqrt().numpy() * 0.7,
        extent=(0, len(signal) / rate, signal.min() - 0.3, signal.max() + 0.3),
        aspect="auto",
        interpolation="nearest",
    )
    axes.set(yticks=[])
    axes.tick_params(labelsize=7)
    axes.set_xlabel("seconds", fontsize=8)
    axes.set_title(read or "integrated gradients, of the recording", fontsize=8)
    return figure
