"""Sounds as log-mel frames of a fixed number, and back by Griffin-Lim."""

from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mmkit import BuildContext, ContinuousAdapter, Ragged
from mmkit_audio.decode import Limits
from mmkit_audio.griffin_lim import sound_of
from mmkit_audio.log_mel import mel_of
from mmkit_audio.mel import LogMel
from mmkit_audio.processor import AudioProcessor, Reading

_LOWEST, _HIGHEST = -1.5, 1.75
"""Log-mel of silence, and of a full-scale tone."""


class MelFrames(ContinuousAdapter):
    """A sound as vectors of ``stack`` log-mel frames. Every frame ends in a number that says whether it is there, 1, or fills
    the sound up to ``max_seconds``, -1; a sound ends where the frames before are there, and those after are not, as nearly as
    can be, so that one number that a head gets wrong does not cut it."""

    def __init__(self, mel: LogMel, processor: AudioProcessor, max_seconds: float, stack: int, iterations: int) -> None:
        self.mel, self.processor, self.stack, self.iterations = mel, processor, stack, iterations
        self.longest = int(max_seconds * mel.sample_rate)
        self.length = -(-processor.lengths(self.longest) // stack)
        self.dim = stack * (mel.n_mels + 1)

    def encode(self, raw: Any) -> Float[Tensor, "length dim"]:
        """Float32, about -1.5 … 1.5.

        Raises:
            SampleError: the value is not a sound that can be read, or longer than ``max_seconds``.
        """
        wave = self.processor(raw)["wave"]
        frames = self.mel(Ragged.sized(wave, [len(wave)])).values[: self.length * self.stack]
        marked = functional.pad(frames, (0, 1), value=1.0)
        return functional.pad(marked, (0, 0, 0, self.length * self.stack - len(frames)), value=-1.0).view(
            self.length, self.dim
        )

    def decode(self, vectors: Float[Tensor, "length dim"]) -> dict[str, Any]:
        """``{"array": float32 samples, "sampling_rate": …}``, no louder than 1; the same vectors always give the same sound."""
        rows = vectors.float().cpu().reshape(self.length * self.stack, self.mel.n_mels + 1)
        there = functional.pad(rows[:, -1].clamp(-1, 1).cumsum(0), (1, 0))
        frames = rows[: int(there.argmax()), :-1].clamp(_LOWEST, _HIGHEST)
        if not len(frames):
            return {"array": np.zeros(0, np.float32), "sampling_rate": self.mel.sample_rate}
        wave = sound_of(self.mel, frames, self.iterations)
        return {"array": (wave / wave.abs().max().clamp(min=1.0)).numpy(), "sampling_rate": self.mel.sample_rate}

    def example(self) -> tuple[str, Any]:
        """As long a silence as it writes."""
        silence = np.zeros(self.longest, dtype=np.float32)
        return f"{self.longest / self.mel.sample_rate:g} seconds of sound", {
            "array": silence,
            "sampling_rate": self.mel.sample_rate,
        }


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
    stack: int,
    iterations: int,
) -> MelFrames:
    """Nothing to learn and nothing to save."""
    reading = Reading(raw_rate, resample, Limits(max_seconds, max_mebibytes))
    mel, processor = mel_of(reading, sample_rate, n_mels, window_ms, hop_ms)
    return MelFrames(mel, processor, max_seconds, stack, iterations)
