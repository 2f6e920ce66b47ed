"""The codes of a trained mel codec as a vocabulary: sounds ⇄ ids."""

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int
from torch import Tensor

from mmkit import BuildContext, Codec, CodeLayout
from mmkit_audio.decode import Limits
from mmkit_audio.griffin_lim import sound_of
from mmkit_audio.mel_processor import MelProcessor
from mmkit_audio.processor import Reading
from mmkit_audio.trained_codec import TrainedCodec


class AudioCodes(Codec):
    """Log-mel frames → codes, and back to a sound by Griffin-Lim. The networks are frozen and run on the CPU."""

    def __init__(
        self,
        codec: TrainedCodec,
        reading: Reading,
        pattern: Literal["flat", "delay"],
        iterations: int,
        max_seconds: float,
    ) -> None:
        self.codec, self.iterations = codec, iterations
        settings = codec.settings
        self.prepared = MelProcessor.of(**settings.mel, reading=reading)
        self.frame_rate = settings.mel["sample_rate"] / (self.prepared.lengths.hop * self.prepared.stride)
        self.layout = CodeLayout(
            codes=math.prod(settings.levels),
            codebooks=settings.codebooks,
            longest_frames=self.prepared.lengths(math.ceil(max_seconds * settings.mel["sample_rate"])),
            shortest_frames=1,
            pattern=pattern,
        )

    def quantize(self, raw: Any) -> Int[Tensor, "frames codebooks"]:
        """Codes of a sound in any form that the encoders of sound read.

        Raises:
            SampleError: it cannot be read, is empty, or too long.
        """
        return self.codec.network.numbers(self.prepared.frames(raw))

    def restore(self, codes: Int[Tensor, "frames codebooks"]) -> dict[str, Any]:
        """``{"array": float32 samples, "sampling_rate": …}``."""
        rate = self.prepared.sample_rate
        if not len(codes):
            return {"array": np.zeros(0, np.float32), "sampling_rate": rate}
        wave = sound_of(self.prepared.mel, self.codec.network.frames(codes), self.iterations)
        return {"array": wave.numpy(), "sampling_rate": rate}

    def example(self) -> tuple[str, Any]:
        """A second of silence."""
        return self.prepared.example()

    def save_assets(self, folder: Path) -> None:
        """Write the codec's settings and weights."""
        self.codec.save(folder)


def build(
    context: BuildContext,
    *,
    raw_rate: int | None,
    resample: bool,
    max_seconds: float,
    max_mebibytes: int,
    codec: Path,
    task: str | None,
    pattern: Literal["flat", "delay"],
    iterations: int,
) -> AudioCodes:
    """The codec of a saved model; of the assets where it was saved before."""
    trained = TrainedCodec.load(context.assets) if context.assets is not None else TrainedCodec.of(codec, task)
    if context.load_weights:
        trained.weights()
    reading = Reading(raw_rate, resample, Limits(max_seconds, max_mebibytes))
    return AudioCodes(trained, reading, pattern, iterations, max_seconds)
