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
    """

    sample_rate: int
    lengths: Lengths
    least: int = 1
    normalize: bool = False
    reading: Reading = READ
    deterministic = True

    def __call__(self, raw: Any) -> Item:
        """``wave``: Float["samples"].

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
        return {"wave": torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))}

    def num_features(self, item: Item) -> int:
        """As many as the encoder gives for a wave of this length."""
        return self.lengths(int(item["wave"].shape[0]))

    def collate(self, items: Sequence[Item]) -> Batch:
        """``wave``: Float["all samples"], the clips end to end; ``wave_lengths``: Int["items"]."""
        waves = [item["wave"] for item in items]
        return {"wave": torch.cat(waves), "wave_lengths": torch.tensor([wave.shape[0] for wave in waves])}

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
