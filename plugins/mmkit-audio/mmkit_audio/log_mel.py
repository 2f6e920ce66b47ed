"""The log-mel spectrogram as an encoder of its own: no weights, one row a window."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mmkit import Batch, BuildContext, Encoder, Padded, Processor, Ragged
from mmkit_audio.decode import Limits
from mmkit_audio.lengths import Lengths
from mmkit_audio.mel import LogMel
from mmkit_audio.processor import AudioProcessor, Reading


def mel_of(
    reading: Reading,
    sample_rate: int,
    n_mels: int,
    window_ms: float,
    hop_ms: float,
    stride: int = 1,
    pooled: bool = False,
    chances: int = 0,
) -> tuple[LogMel, AudioProcessor]:
    """The front end and the processor that go together."""
    window, hop = round(sample_rate * window_ms / 1000), round(sample_rate * hop_ms / 1000)
    window += window % 2
    lengths = Lengths(hop=hop, stride=stride, pooled=pooled)
    return (
        LogMel(sample_rate, n_mels, window, hop),
        AudioProcessor(sample_rate, lengths, least=max(window, hop), reading=reading, chances=chances),
    )


class LogMelEncoder(Encoder):
    """Log-mel frames as features, or their mean and standard deviation over time."""

    def __init__(self, mel: LogMel, prepared: AudioProcessor, features: Literal["tokens", "pooled"]) -> None:
        super().__init__()
        self.mel, self.prepared, self.features = mel, prepared, features
        self.feature_dim = mel.n_mels if features == "tokens" else 2 * mel.n_mels

    def processor(self) -> Processor:
        """Decodes, mixes, resamples."""
        return self.prepared

    def forward(self, batch: Batch) -> Ragged:
        """Float["frames n_mels"], or Float["items 2·n_mels"]."""
        frames = self.mel(waves_of(batch))
        if self.features == "tokens":
            return frames
        if isinstance(frames, Padded):
            return frames.equal(_moments(frames)[:, None])
        rows = [torch.cat([clip.mean(0), clip.std(0, correction=0)]) for clip in frames.split()]
        return Ragged(torch.stack(rows), torch.ones(len(rows), dtype=torch.int64))


def _moments(frames: Padded) -> Float[Tensor, "items two_n_mels"]:
    """Mean and standard deviation of each clip, in an exported graph."""
    mask, counts = frames.mask[..., None], frames.lengths[:, None]
    mean = torch.where(mask, frames.values, 0.0).sum(1) / counts
    spread = torch.where(mask, frames.values - mean[:, None], 0.0).square().sum(1) / counts
    return torch.cat([mean, spread.sqrt()], dim=1)


def waves_of(batch: Batch) -> Ragged:
    """The clips of a collated batch."""
    wave, lengths = batch["wave"], batch["wave_lengths"]
    if isinstance(wave, Padded):
        return wave
    assert isinstance(wave, torch.Tensor)
    assert isinstance(lengths, torch.Tensor)
    return Ragged(wave, lengths)


def build(
    context: BuildContext,
    *,
    raw_rate: int | None,
    resample: bool,
    max_seconds: float,
    max_mebibytes: int,
    sample_rate: int,
    n_mels: int,
    window_ms: float,
    hop_ms: float,
    features: Literal["tokens", "pooled"],
) -> LogMelEncoder:
    """No weights."""
    reading = Reading(raw_rate, resample, Limits(max_seconds, max_mebibytes))
    mel, processor = mel_of(reading, sample_rate, n_mels, window_ms, hop_ms, pooled=features == "pooled")
    return LogMelEncoder(mel, processor, features)
