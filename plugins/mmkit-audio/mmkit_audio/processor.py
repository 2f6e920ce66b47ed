"""Sound → one normalised mono wave at the encoder's rate. Deterministic; no weights."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmkit import Batch, Item, Processor, SampleError
from mmkit_audio.decode import DEFAULT, Limits, decode
from mmkit_audio.lengths import Lengths

_FILE = "processor.json"


@dataclass(frozen=True)
class Reading:
    """How raw values are read.

    Attributes:
        raw_rate: rate of bare arrays. resample: change other rates; False refuses them.
    """

    raw_rate: int | None = None
    resample: bool = True
    limits: Limits = DEFAULT


READ = Reading()


@dataclass(frozen=True)
class AudioProcessor(Processor):
    """Decodes, mixes to one channel, resamples.

    Attributes:
        sample_rate: samples a second of the waves it gives.
        lengths: feature rows of a wave of so many samples.
        least: shorter waves are filled with silence up to this many samples.
        normalize: subtract the mean and divide by the deviation of each clip (wav2vec 2.0).
        chances: random numbers that each clip brings along for the encoder's augmentation. Drawn here, where the
            loader seeds each sample for itself, so that it depends on no batch, rank or worker.
    """

    sample_rate: int
    lengths: Lengths
    least: int = 1
    normalize: bool = False
    reading: Reading = READ
    chances: int = 0

    @property
    def deterministic(self) -> bool:  # type: ignore[override]
        """Without random numbers of its own."""
        return self.chances == 0

    def __call__(self, raw: Any) -> Item:
        """``wave``: Float["samples"]; ``chances``: Float["chances"] in 0…1, where there are any.

        Raises:
            SampleError: the value is not a sound that can be read, or has another rate and ``resample`` is off.
        """
        clip = decode(raw, self.reading.limits, self.reading.raw_rate)
        if clip.rate != self.sample_rate and not self.reading.resample:
            raise SampleError(
                f"{clip.where}: {clip.rate} samples a second, the encoder works at {self.sample_rate}; "
                "set resample: true, or convert the file"
            )
        samples = clip.at(self.sample_rate)
        if self.normalize:
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        if len(samples) < self.least:
            samples = np.pad(samples, (0, self.least - len(samples)))
        item = {"wave": torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))}
        return {**item, "chances": torch.rand(self.chances)} if self.chances else item

    def num_features(self, item: Item) -> int:
        """As many as the encoder gives for a wave of this length."""
        return self.lengths(int(item["wave"].shape[0]))

    def collate(self, items: Sequence[Item]) -> Batch:
        """``wave``: Float["all samples"], the clips end to end; ``wave_lengths``: Int["items"]; ``chances``:
        Float["items chances"]."""
        waves = [item["wave"] for item in items]
        batch = {"wave": torch.cat(waves), "wave_lengths": torch.tensor([wave.shape[0] for wave in waves])}
        return {**batch, "chances": torch.stack([item["chances"] for item in items])} if self.chances else batch

    def example(self) -> tuple[str, Any]:
        """A second of silence."""
        silence = np.zeros(self.sample_rate, dtype=np.float32)
        return "second of sound", {"array": silence, "sampling_rate": self.sample_rate}

    def save(self, folder: Path) -> None:
        """Write the settings."""
        (folder / _FILE).write_text(json.dumps(asdict(self), indent=1), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> "AudioProcessor":
        """Read what ``save`` wrote."""
        fields = json.loads((folder / _FILE).read_text("utf-8"))
        lengths = Lengths(**{**fields["lengths"], "convolutions": tuple(map(tuple, fields["lengths"]["convolutions"]))})
        reading = Reading(**{**fields["reading"], "limits": Limits(**fields["reading"]["limits"])})
        return cls(**{**fields, "lengths": lengths, "reading": reading})
