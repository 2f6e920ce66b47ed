"""Changes of a spectrogram while training: SpecAugment (Park et al. 2019) without time warping, and a shift of pitch.

The random numbers come with the clips (uniform in 0…1), so that a change depends on no batch, rank or worker.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmkit import Ragged

BAND_MASKS, SPAN_MASKS = 2, 2
CHANCES = 1 + 2 * (BAND_MASKS + SPAN_MASKS)
"""Random numbers of a clip: one to shift it, two for the width and the start of every mask."""


def mask_bands(frames: Ragged, chances: Float[Tensor, "items 8"], share: float = 0.2) -> Ragged:
    """Blank two bands of mels and two spans of time of each clip, each up to ``share`` of the whole, with its mean."""
    clips = []
    for clip, drawn in zip(frames.split(), chances.view(len(frames), -1, 2), strict=True):
        time = _spans(clip.shape[0], share, drawn[:SPAN_MASKS])
        band = _spans(clip.shape[1], share, drawn[SPAN_MASKS:])
        clips.append(torch.where(time[:, None] | band[None, :], clip.mean(), clip))
    return frames.replace(torch.cat(clips))


def _spans(size: int, share: float, chances: Float[Tensor, "masks 2"]) -> Bool[Tensor, " size"]:
    width = chances[:, :1] * share * size
    start = chances[:, 1:] * (size - width)
    at = torch.arange(size, device=chances.device)
    return ((at >= start) & (at < start + width)).any(0)


def shift_bands(frames: Ragged, most: int, chances: Float[Tensor, " items"]) -> Ragged:
    """Move each clip by up to ``most`` mel bands up or down; the edge band is repeated."""
    values: Float[Tensor, "frames mels"] = frames.values
    moves = (chances * (2 * most + 1)).long() - most
    moves = moves.repeat_interleave(frames.lengths.to(values.device), output_size=values.shape[0])
    bands = torch.arange(values.shape[1], device=values.device)
    return frames.replace(values.gather(1, (bands[None] + moves[:, None]).clamp(0, values.shape[1] - 1)))
