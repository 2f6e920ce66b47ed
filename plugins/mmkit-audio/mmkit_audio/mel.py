"""The log-mel spectrogram of Whisper (Radford et al. 2022), packed and on any device."""

from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

from mmkit import Ragged


class LogMel:
    """Waves → log-mel frames, scaled to about −1…1.5. Each clip is computed for itself: no padding between clips.

    Not a module: its constants stay float32 whatever the model's precision, and are no part of its weights.

    Args:
        sample_rate: samples a second. window, hop: samples. n_mels: bands, up to half the sample rate.
    """

    def __init__(self, sample_rate: int, n_mels: int, window: int, hop: int) -> None:
        self.sample_rate, self.n_mels, self.window, self.hop = sample_rate, n_mels, window, hop

    def __call__(self, waves: Ragged) -> Ragged:
        """Float["all_samples"] → Float["frames n_mels"]; a clip of n samples has max(1, n // hop) frames.

        A frame is centred on every hop-th sample; the clip is mirrored at its ends (a clip must have more than
        window / 2 samples). Power, Slaney mel filters, log10, no lower than 8 below the clip's maximum, (x + 4) / 4.
        """
        device = waves.values.device
        counts = torch.clamp(waves.lengths // self.hop, min=1)
        kind = "cpu" if device.type == "meta" else device.type  # autocast knows no meta device
        with torch.autocast(kind, enabled=False):
            frames = self._frames(waves, counts)
            hann, filters = _constants(self.sample_rate, self.n_mels, self.window, str(device))
            power = torch.fft.rfft(frames * hann).abs().square()
            logs = (power @ filters).clamp(min=1e-10).log10()
            highest = torch.stack([clip.max() for clip in logs.split(counts.tolist())])
            floor = highest.repeat_interleave(counts.to(device), output_size=logs.shape[0])[:, None] - 8.0
            return Ragged((torch.maximum(logs, floor) + 4.0) / 4.0, counts)

    def _frames(self, waves: Ragged, counts: Int[Tensor, " items"]) -> Float[Tensor, "frames window"]:
        """All windows of all clips, from one gather of the mirrored waves."""
        half, device = self.window // 2, waves.values.device
        lengths = waves.lengths
        padded = lengths + 2 * half
        at = Ragged(torch.zeros(int(padded.sum())), padded).positions() - half
        last = (lengths - 1).repeat_interleave(padded)
        at = at.abs()
        at = torch.where(at > last, 2 * last - at, at).clamp(min=0)  # mirrored at both ends
        index = at + waves.offsets[:-1].repeat_interleave(padded)
        mirrored = waves.values.float()[index.to(device)]
        starts = (padded.cumsum(0) - padded).repeat_interleave(counts)
        starts = starts + Ragged(torch.zeros(int(counts.sum())), counts).positions() * self.hop
        return mirrored.unfold(0, self.window, 1)[starts.to(device)]


@lru_cache(maxsize=16)
def _constants(sample_rate: int, n_mels: int, window: int, device: str) -> tuple[Tensor, Tensor]:
    """Hann window (periodic) and mel filters, float32."""
    filters = mel_filter_bank(1 + window // 2, n_mels, 0.0, sample_rate / 2, sample_rate, "slaney", "slaney")
    hann = torch.hann_window(window, dtype=torch.float64)
    return hann.float().to(device), torch.from_numpy(filters).float().to(device)
