"""Sounds that the tests make: two vowel-like tones of different pitch, with a breath of noise, at 16 kHz."""

from collections.abc import Sequence

import numpy as np
import pytest

RATE = 16_000


def vowel(seconds: float, pitch: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Harmonics of a gliding pitch under two formants."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.2 * time)) / rate
    harmonics = sum(np.exp(-(((k * pitch - 700) / 500) ** 2)) * np.sin(k * phase) for k in range(1, 20))
    noise = np.random.default_rng(seed).normal(0, 0.01, len(time))
    return (0.3 * np.asarray(harmonics) + noise).astype(np.float32)


@pytest.fixture
def clips() -> Sequence[dict[str, object]]:
    """Three clips of different length, the middle one at another rate and in stereo."""
    low, high, short = vowel(1.31, 110), vowel(2.0, 220, 8000, 1), vowel(0.4, 160, seed=2)
    return [
        {"array": low, "sampling_rate": RATE},
        {"array": np.stack([high, 0.5 * high], axis=1), "sampling_rate": 8000},
        {"array": short, "sampling_rate": RATE},
    ]
