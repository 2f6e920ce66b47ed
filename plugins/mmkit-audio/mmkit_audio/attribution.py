"""What speaks for an answer, drawn over the spectrogram of the sound as the encoder read it."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.audio_utils import hertz_to_mel

from mmkit import Ragged
from mmkit_audio.mel import LogMel
from mmkit_audio.processor import AudioProcessor

_BANDS, _WIDE, _HIGH = 64, 8.0, 2.2
_COLOURS = {True: ["#2548d0", "#d62020"], False: ["#0a8754", "#0a8754"]}
_TICKS = (250, 500, 1000, 2000, 4000, 8000, 16_000)


def draw(column: Any, part: Any) -> Any:
    """A figure: log-mel over seconds and hertz; red raises the score, blue lowers it, green was read by attention. Where the
    features are mel bands themselves, each place has its colour; else each moment. None for encoders of other plugins.

    Args:
        column: of an ``mmkit.Explanation``. part: one of its parts, with numbers for each row of the encoder, in time.
    """
    if not isinstance(column.reader, AudioProcessor):
        return None
    wave, rate = column.items[part.item]["wave"], column.reader.sample_rate
    bands = _bands(column.reader, wave, part)
    heat: Tensor = part.attribution if part.attribution.dim() == 1 else part.attribution.sum(-1)
    if bands is None:
        if len(heat) < 2:  # one row for the whole sound has no place in it
            return None
        bands = _spectrogram(wave, rate, _BANDS, min(400, len(wave) // 4 * 2), 160)
    elif part.attribution.dim() == 2:
        heat = part.attribution.T
    lengths, seconds = column.reader.lengths, len(wave) / rate
    covered = -(-len(wave) // lengths.chunk) * lengths.chunk / rate if lengths.filled and lengths.chunk else seconds
    return _figure(bands, heat.reshape(-1, heat.shape[-1]), (seconds, covered), rate, part.key)


def _bands(reader: AudioProcessor, wave: Tensor, part: Any) -> Tensor | None:
    """Float["frames n_mels"] where the features are this log-mel; that is seen by computing it."""
    if part.key != "features" or part.value.dim() != 2 or reader.lengths.stride != 1:
        return None
    mel = _spectrogram(wave, reader.sample_rate, part.value.shape[1], reader.least, reader.lengths.hop)
    same = mel.shape == part.value.shape and torch.allclose(mel, part.value, atol=1e-3)
    return mel if same else None


def _spectrogram(wave: Tensor, rate: int, n_mels: int, window: int, hop: int) -> Tensor:
    return LogMel(rate, n_mels, window, hop)(Ragged.sized(wave, [len(wave)])).values


def _figure(bands: Tensor, heat: Tensor, spans: tuple[float, float], rate: int, key: str) -> Any:
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    figure, sign, high = (
        Figure(figsize=(_WIDE, _HIGH), layout="constrained"),
        key not in ("rollout", "relevance"),
        len(bands.T),
    )
    axes, (seconds, covered) = figure.add_subplot(), spans
    places: dict[str, Any] = {
        "aspect": "auto",
        "origin": "lower",
        "interpolation": "nearest",
    }
    low, top = float(bands.min()), float(bands.max())
    axes.imshow(
        bands.T.numpy(), cmap="gray_r", vmin=low, vmax=top + 0.4 * (top - low), extent=(0, seconds, 0, high), **places
    )
    strongest = float(heat.abs().max()) or 1.0
    strength = _strength(heat, sign) * (0.85 if len(heat) > 1 else 0.6)
    axes.imshow(
        heat.numpy(),
        cmap=ListedColormap(_COLOURS[sign]),
        vmin=-strongest,
        vmax=strongest,
        alpha=strength.numpy(),
        extent=(0, covered, 0, high),
        **places,
    )
    axes.set_xlim(0, seconds)
    ticks = [hertz for hertz in _TICKS if hertz <= rate / 2]
    scale: Any = hertz_to_mel(np.array([*ticks, rate / 2], dtype=float), "slaney")
    axes.set_yticks(high * scale[:-1] / scale[-1], [str(hertz) for hertz in ticks], fontsize=7)
    axes.set_ylabel("Hz", fontsize=8)
    axes.set_xlabel("seconds", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    titles = {"rollout": "attention (rollout)", "relevance": "attention × gradient"}
    axes.set_title(titles.get(key, f"integrated gradients, of {'mel bands' if len(heat) > 1 else key}"), fontsize=8)
    return figure


def _strength(heat: Tensor, sign: bool) -> Tensor:
    """0 … 1: numbers with a sign by the root of their size, those of attention from the least to the most."""
    if sign:
        return (heat.abs() / heat.abs().max().clamp(min=1e-30)).sqrt()
    low, top = heat.min(), heat.max()
    return (heat - low) / (top - low).clamp(min=1e-30 + 0.05 * float(top))
