"""How far a sound is from another one, whatever the phases."""

import math
from collections.abc import Sequence
from typing import Any

from mmkit_audio.mel_processor import MelProcessor

DECIBELS = 40.0
"""Of a step of 1 in ``LogMel``, which has (log10 + 4) / 4 of a power."""


class FrameDistance:
    """``mel_distance``: root of the mean squared difference of two log-mel spectrograms, in decibels, over all bands and all
    frames of a test set; of sounds of different length, over the frames that both have."""

    def __init__(self, prepared: MelProcessor) -> None:
        self.prepared = prepared
        self.total, self.count = 0.0, 0

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Sounds in any form that the processor reads."""
        for prediction, reference in zip(predictions, references, strict=True):
            got, wanted = self.prepared.frames(prediction), self.prepared.frames(reference)
            both = min(len(got), len(wanted))
            self.total += float((got[:both] - wanted[:both]).double().square().sum())
            self.count += both * self.prepared.n_mels

    def compute(self) -> dict[str, float]:
        """Decibels."""
        return {"mel_distance": DECIBELS * math.sqrt(self.total / max(1, self.count))}
