"""A processor that knows the spectrogram its waves become, so that a head can make the same one."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from mmkit import Ragged
from mmkit_audio.lengths import Lengths
from mmkit_audio.mel import LogMel
from mmkit_audio.processor import READ, AudioProcessor, Reading


@dataclass(frozen=True)
class MelProcessor(AudioProcessor):
    """Waves of at least a window.

    Attributes:
        n_mels: mel bands. window: samples.
    """

    n_mels: int = 80
    window: int = 400

    @classmethod
    def of(
        cls, sample_rate: int, n_mels: int, window_ms: float, hop_ms: float, stride: int, reading: Reading = READ
    ) -> "MelProcessor":
        """With windows and hops in milliseconds, and ``stride`` frames a row."""
        window, hop = round(sample_rate * window_ms / 1000), round(sample_rate * hop_ms / 1000)
        window += window % 2
        lengths = Lengths(hop=hop, stride=stride)
        return cls(sample_rate, lengths, least=max(window, hop), reading=reading, n_mels=n_mels, window=window)

    @property
    def stride(self) -> int:
        """Frames a row."""
        return self.lengths.stride

    @property
    def settings(self) -> dict[str, Any]:
        """What ``of`` takes, by the names of the options."""
        of = 1000 / self.sample_rate
        spans = {"window_ms": self.window * of, "hop_ms": self.lengths.hop * of}
        return {"sample_rate": self.sample_rate, "n_mels": self.n_mels, "stride": self.stride, **spans}

    @property
    def mel(self) -> LogMel:
        """The spectrogram."""
        return LogMel(self.sample_rate, self.n_mels, self.window, self.lengths.hop)

    def frames(self, raw: Any) -> Float[Tensor, "frames n_mels"]:
        """Log-mel frames of a raw value.

        Raises:
            SampleError: it is not a sound that can be read.
        """
        wave = self(raw)["wave"]
        return self.mel(Ragged.sized(wave, [len(wave)])).values
