"""The distance of generated sounds to their references, against slow and plain computations."""

from typing import Any

import numpy as np
import pytest
import torch
from mmkit_audio.mel_distance import MelDistance, build, warped
from mmkit_audio.metric_config import MelDistanceConfig

import mmkit

RATE = 16_000


def sweep(seconds: float, pitch: float = 300, loud: float = 0.3) -> dict[str, Any]:
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(pitch * (1 + time / seconds)) / RATE
    wave = sum(np.sin(k * phase) / k for k in range(1, 8)) + np.random.default_rng(0).normal(0, 0.01, len(time))
    return {"array": (loud * np.asarray(wave)).astype(np.float32), "sampling_rate": RATE}


def made(**options: Any) -> MelDistance:
    config = MelDistanceConfig(**options)
    return build(mmkit.BuildContext(), **{name: getattr(config, name) for name in MelDistanceConfig.model_fields})


def figures(metric: MelDistance, prediction: Any, reference: Any) -> dict[str, float]:
    metric.update([prediction], [reference])
    return metric.compute()


def slow_warp(one: np.ndarray, other: np.ndarray) -> tuple[float, list[tuple[int, int]]]:
    """The textbook's table and the way back through it."""
    cost = np.full((len(one) + 1, len(other) + 1), np.inf)
    cost[0, 0] = 0
    for i in range(len(one)):
        for j in range(len(other)):
            before = min(cost[i, j], cost[i, j + 1], cost[i + 1, j])
            cost[i + 1, j + 1] = np.linalg.norm(one[i] - other[j]) + before
    at, path = (len(one), len(other)), []
    while at != (0, 0):
        path.append((at[0] - 1, at[1] - 1))
        ways = [(at[0] - 1, at[1] - 1), (at[0] - 1, at[1]), (at[0], at[1] - 1)]
        at = min(ways, key=lambda way: cost[way] if min(way) >= 0 else np.inf)
    return float(cost[-1, -1]), path


@pytest.mark.parametrize(("high", "wide"), [(9, 14), (12, 5), (1, 7), (6, 1), (1, 1), (8, 8)])
def test_warping_finds_the_path_of_the_textbook(high: int, wide: int) -> None:
    draw = np.random.default_rng(high * wide)
    one, other = draw.normal(size=(high, 3)), draw.normal(size=(wide, 3))
    shown, against = draw.normal(size=(high, 5)), draw.normal(size=(wide, 5))
    total, path = slow_warp(one, other)
    difference, mean = warped(one, other, shown, against)
    assert mean == pytest.approx(total / len(path))
    squares = [((shown[i] - against[j]) ** 2).mean() ** 0.5 for i, j in path]
    assert difference == pytest.approx(np.mean(squares))


def test_levels_are_decibels_of_the_mel_spectrogram() -> None:
    """Twice the amplitude is 6 dB everywhere, and no other cepstrum."""
    quiet, loud = sweep(0.5, loud=0.1), sweep(0.5, loud=0.2)
    for align in ("dtw", "cut"):
        found = figures(made(align=align), quiet, loud)
        assert found["mel_distance"] == pytest.approx(20 * np.log10(2), abs=0.05)
        assert found["mcd"] == pytest.approx(0, abs=0.05)
        assert figures(made(align=align), loud, loud) == {"mel_distance": 0, "mcd": 0}


def test_over_all_coefficients_the_distortion_is_the_distance_without_the_mean_level() -> None:
    """Parseval."""
    metric = made(n_mels=24, coefficients=23, align="cut")
    one, other = sweep(0.4), sweep(0.4, 420)
    got, wanted = metric._levels(one, "prediction"), metric._levels(other, "reference")
    level = (got - wanted) - (got - wanted).mean(1, keepdims=True)
    found = figures(metric, one, other)
    assert found["mcd"] == pytest.approx(np.sqrt((level**2).mean(1)).mean())
    assert found["mel_distance"] == pytest.approx(np.sqrt(((got - wanted) ** 2).mean(1)).mean())


def test_a_slower_reading_is_near_where_frames_are_warped() -> None:
    fast, slow, other = sweep(0.6), sweep(0.9), sweep(0.9, 900)
    warp, cut = figures(made(), fast, slow), figures(made(align="cut"), fast, slow)
    assert warp["mcd"] < 0.6 * cut["mcd"]
    assert figures(made(), fast, other)["mcd"] > 2 * warp["mcd"]


def test_rates_may_differ_and_an_empty_prediction_is_silence() -> None:
    reference = sweep(0.4)
    half = {"array": torch.from_numpy(reference["array"][::2].copy()), "sampling_rate": RATE // 2}
    empty = {"array": np.zeros(0, np.float32), "sampling_rate": RATE}
    silent = {"array": np.zeros(6400, np.float32), "sampling_rate": RATE}
    found = figures(made(), empty, reference)
    assert found == pytest.approx(figures(made(), silent, reference))
    assert figures(made(), half, reference)["mel_distance"] < found["mel_distance"]
    assert figures(made(), {"array": np.ones(5, np.float32), "sampling_rate": RATE}, reference)["mcd"] > 0
    assert made().compute() == {}


def test_what_is_no_sound_is_said() -> None:
    with pytest.raises(mmkit.PluginError) as caught:
        figures(made(), sweep(0.2), b"")
    assert str(caught.value) == (
        "metric 'mel-distance' compares sounds, but of a reference: audio bytes: empty (0 bytes)"
    )
    with pytest.raises(ValueError, match="coefficients must be fewer than n_mels, got 13 of 13 bands"):
        MelDistanceConfig(n_mels=13)
