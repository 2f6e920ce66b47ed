"""The log-mel spectrogram of Whisper (Radford et al. 2022), packed and on any device."""

from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

from mmkit import Padded, Ragged

_BLOCK = 512
"""Frames that a processor computes at a time, so that what lies between the steps stays in its cache."""


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

        Raises:
            ValueError: a clip is shorter.
        """
        if isinstance(waves, Padded):
            return self._padded(waves)
        device = waves.values.device
        counts = torch.clamp(waves.lengths // self.hop, min=1)
        kind = "cpu" if device.type == "meta" else device.type  # autocast knows no meta device
        with torch.autocast(kind, enabled=False):
            windows, starts = self._windows(waves, counts)
            hann, filters = constants(self.sample_rate, self.n_mels, self.window, str(device))
            bands = []
            for part in starts.to(device).split(_BLOCK if device.type == "cpu" else max(1, len(starts))):
                spectrum = torch.fft.rfft(windows.index_select(0, part).mul_(hann))
                bands.append(spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag) @ filters)
            logs = torch.cat(bands).clamp_(min=1e-10).log10_()
            highest = torch.stack([clip.max() for clip in logs.split(counts.tolist())])
            floor = highest.repeat_interleave(counts.to(device), output_size=logs.shape[0])[:, None] - 8.0
            return Ragged(torch.maximum(logs, floor).add_(4.0).div_(4.0), counts)

    def _padded(self, waves: Padded) -> Padded:
        """As ``__call__``, in an exported graph. The spectrum is a product with sines and cosines in float64: ONNX's own
        transform is slow and less exact where a clip has 400 samples a window."""
        half = self.window // 2
        counts = torch.clamp(waves.lengths // self.hop, min=1)
        starts = torch.arange(waves.longest // self.hop, device=waves.device) * self.hop - half
        place = (starts[:, None] + torch.arange(self.window, device=waves.device)).flatten()
        last = waves.lengths[:, None] - 1
        mirrored = (last - (last - place.abs()).abs()).clamp(min=0)
        windows = waves.values.double().gather(1, mirrored).unflatten(1, (-1, self.window))
        hann, filters = constants(self.sample_rate, self.n_mels, self.window, str(waves.device))
        angles = torch.outer(torch.arange(self.window), torch.arange(1 + half)).double() * (2 * torch.pi / self.window)
        waved = [windows @ (hann.double()[:, None] * wave).to(waves.device) for wave in (angles.cos(), angles.sin())]
        power = (waved[0].square() + waved[1].square()).float()
        logs = (power @ filters).clamp(min=1e-10).log10()
        frames = Padded(logs, counts)
        highest = torch.where(frames.mask[..., None], frames.values, -10.0).amax((1, 2), keepdim=True)
        return frames.replace((torch.maximum(frames.values, highest - 8.0) + 4.0) / 4.0)

    def _windows(
        self, waves: Ragged, counts: Int[Tensor, " items"]
    ) -> tuple[Float[Tensor, "places window"], Int[Tensor, " frames"]]:
        """A view of the windows at every place of all clips, each between its mirrored ends; and where the frames are."""
        half = self.window // 2
        if min(waves.sizes) <= half:
            raise ValueError(f"a clip of {min(waves.sizes)} samples is too short for windows of {self.window}")
        pieces = []
        for clip in waves.replace(waves.values.float()).split():
            pieces += [clip[1 : half + 1].flip(0), clip, clip[-half - 1 : -1].flip(0)]
        clips = waves.offsets[:-1] + 2 * half * torch.arange(len(waves)) - (counts.cumsum(0) - counts) * self.hop
        starts = torch.arange(int(counts.sum())) * self.hop + clips.repeat_interleave(counts)
        return torch.cat(pieces).unfold(0, self.window, 1), starts


@lru_cache(maxsize=16)
def constants(sample_rate: int, n_mels: int, window: int, device: str) -> tuple[Tensor, Tensor]:
    """Hann window (periodic) and mel filters, float32."""
    filters = mel_filter_bank(1 + window // 2, n_mels, 0.0, sample_rate / 2, sample_rate, "slaney", "slaney")
    hann = torch.hann_window(window, dtype=torch.float64)
    return hann.float().to(device), torch.from_numpy(filters).float().to(device)
