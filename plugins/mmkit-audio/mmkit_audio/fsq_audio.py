"""The mel codec's encoder: log-mel → convolutions that shorten it → rows of a few steps each."""

from collections.abc import Sequence

import torch

from mmkit import Batch, BuildContext, Encoder, Processor, Ragged
from mmkit_audio.decode import Limits
from mmkit_audio.fsq import Fsq, Split
from mmkit_audio.log_mel import waves_of
from mmkit_audio.mel_networks import FramesToRows
from mmkit_audio.mel_processor import MelProcessor
from mmkit_audio.processor import Reading


class FsqAudio(Encoder):
    """Log-mel frames, ``stride`` at a time, as quantised rows. Computed in float32: rounding half way between two steps
    would show every smaller precision."""

    def __init__(
        self,
        prepared: MelProcessor,
        levels: Sequence[int],
        codebooks: int,
        split: Split,
        dim: int,
        layers: int,
        kernel: int,
    ) -> None:
        super().__init__()
        self.prepared, self.mel = prepared, prepared.mel
        self.quantizer = Fsq(levels, codebooks, split)
        self.network = FramesToRows(prepared.n_mels, prepared.stride, dim, layers, kernel, self.quantizer.width)
        self.feature_dim = self.quantizer.quantised

    def processor(self) -> Processor:
        """Decodes, mixes, resamples."""
        return self.prepared

    def forward(self, batch: Batch) -> Ragged:
        """Float["rows codebooks·levels"], each number from -1 to 1."""
        waves = waves_of(batch)
        kind = "cpu" if waves.device.type == "meta" else waves.device.type
        with torch.autocast(kind, enabled=False):
            rows = self.network(self.mel(waves))
            return rows.replace(self.quantizer(rows.values))


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
    stride: int,
    dim: int,
    layers: int,
    kernel: int,
    levels: list[int],
    codebooks: int,
    split: Split,
) -> FsqAudio:
    """Fresh weights."""
    reading = Reading(raw_rate, resample, Limits(max_seconds, max_mebibytes))
    prepared = MelProcessor.of(sample_rate, n_mels, window_ms, hop_ms, stride, reading)
    return FsqAudio(prepared, levels, codebooks, split, dim, layers, kernel)
