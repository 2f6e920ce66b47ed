"""Changes of a spectrogram while training: SpecAugment (Park et al. 2019) without time warping, and a shift of pitch."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmkit import Ragged

BAND_MASKS, SPAN_MASKS = 2, 2


def mask_bands(frames: Ragged, share: float = 0.2) -> Ragged:
    """Blank two bands of mels and two spans of time of each clip, each up to ``share`` of the whole, with its mean."""
    values = frames.values
    clips = []
    for clip in frames.split():
        time = _spans(clip.shape[0], share, SPAN_MASKS, values.device)
        band = _spans(clip.shape[1], share, BAND_MASKS, values.device)
        clips.append(torch.where(time[:, None] | band[None, :], clip.mean(), clip))
    return frames.replace(torch.cat(clips))


def _spans(size: int, share: float, count: int, device: torch.device) -> Bool[Tensor, " size"]:
    at = torch.arange(size, device=device)
    covered = torch.zeros(size, dtype=torch.bool, device=device)
    for _ in range(count):
        width = torch.rand((), device=device) * share * size
        start = torch.rand((), device=device) * (size - width)
        covered = covered | ((at >= start) & (at < start + width))
    return covered


def shift_bands(frames: Ragged, most: int) -> Ragged:
    """Move each clip by up to ``most`` mel bands up or down; the edge band is repeated."""
    values: Float[Tensor, "frames mels"] = frames.values
    moves = torch.randint(-most, most + 1, (len(frames),)).repeat_interleave(frames.lengths).to(values.device)
    bands = torch.arange(values.shape[1], device=values.device)
    return frames.replace(values.gather(1, (bands[None] + moves[:, None]).clamp(0, values.shape[1] - 1)))
