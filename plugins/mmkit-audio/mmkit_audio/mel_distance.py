"""How near predicted sounds come to their references, frame by frame."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from mmkit import BuildContext, PluginError, Ragged, SampleError
from mmkit_audio.decode import decode
from mmkit_audio.mel import LogMel

Got = Float[np.ndarray, "got bands"]
Wanted = Float[np.ndarray, "wanted bands"]


class MelDistance:
    """``mel_distance``: root mean square over mel bands of the difference of levels. ``mcd``: mel-cepstral distortion, which
    leaves loudness and fine structure out (Kubichek 1993). Both in decibels: the mean over pairs of frames, then over sounds.

    With levels P of B bands in dB, the cepstrum is c_n = 1/B Σ_b P_b cos(π n (b + ½) / B), and
    mcd = √(2 Σ_{1…coefficients} (c_n − c'_n)²): over all B − 1 coefficients, the mel distance without the mean level.
    Levels go down to 80 dB below a sound's loudest band. Frames are paired by dynamic time warping of the cepstra
    (Sakoe & Chiba 1978), or in order. An empty prediction counts as silence.
    """

    def __init__(self, mel: LogMel, coefficients: int, align: Literal["dtw", "cut"]) -> None:
        self.mel, self.align = mel, align
        places = np.arange(mel.n_mels) + 0.5
        orders = np.arange(1, coefficients + 1)
        self.cosines = np.sqrt(2) * np.cos(np.pi * np.outer(places, orders) / mel.n_mels) / mel.n_mels
        self.distances: list[tuple[float, float]] = []

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Add a batch of sounds in any form.

        Raises:
            PluginError: a value is no sound.
        """
        for prediction, reference in zip(predictions, references, strict=True):
            wanted = self._levels(reference, "reference")
            got = np.full_like(wanted, -100.0) if _is_empty(prediction) else self._levels(prediction, "prediction")
            self.distances.append(self._compared(got, wanted))

    def _compared(self, got: Got, wanted: Wanted) -> tuple[float, float]:
        """Mel distance and distortion of two sounds."""
        if self.align == "dtw":
            return warped(got @ self.cosines, wanted @ self.cosines, got, wanted)
        count = min(len(got), len(wanted))
        difference = got[:count] - wanted[:count]
        cepstral = np.linalg.norm(difference @ self.cosines, axis=1)
        return float(np.sqrt((difference**2).mean(1)).mean()), float(cepstral.mean())

    def _levels(self, raw: Any, what: str) -> Got:
        """Decibels."""
        try:
            samples = decode(raw).at(self.mel.sample_rate)
        except SampleError as error:
            raise PluginError(f"metric 'mel-distance' compares sounds, but of a {what}: {error}") from None
        wave = torch.from_numpy(np.pad(samples, (0, max(0, self.mel.window - len(samples)))))
        levels: Got = self.mel(Ragged(wave, torch.tensor([len(wave)]))).values.double().numpy() * 40 - 40
        return levels

    def compute(self) -> dict[str, float]:
        """The means over sounds; empty where nothing was added."""
        if not self.distances:
            return {}
        mel, cepstral = np.array(self.distances).mean(0).tolist()
        return {"mel_distance": mel, "mcd": cepstral}


def _is_empty(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("array") is not None and len(value["array"]) == 0


def warped(
    one: Float[np.ndarray, "high dim"],
    other: Float[np.ndarray, "wide dim"],
    shown: Float[np.ndarray, "high bands"],
    against: Float[np.ndarray, "wide bands"],
) -> tuple[float, float]:
    """Dynamic time warping of ``one`` and ``other`` with steps (1, 1), (1, 0), (0, 1): the path of the least summed distance.

    Returns:
        The means along the path of the root mean square difference of ``shown`` and ``against``, and of the distance.

    Anti-diagonals are computed whole, each from the two before it; where paths are equally short, the diagonal one is taken.
    """
    high, wide = len(one), len(other)
    # what the best path to a pair has: summed distance, number of pairs, summed difference; one row more for no pair
    before, last = np.full((3, high + 1), np.inf), np.full((3, high + 1), np.inf)
    for diagonal in range(high + wide - 1):
        first, end = max(0, diagonal - wide + 1), min(high, diagonal + 1)
        rows = np.arange(first, end)
        here = np.full((3, high + 1), np.inf)
        step = np.stack(
            [
                np.linalg.norm(one[rows] - other[diagonal - rows], axis=1),
                np.ones(len(rows)),
                np.sqrt(((shown[rows] - against[diagonal - rows]) ** 2).mean(1)),
            ]
        )
        if diagonal == 0:
            here[:, 1:2] = step
        else:
            ways = np.stack([before[:, rows], last[:, rows], last[:, rows + 1]])
            best = ways[:, 0].argmin(0)
            here[:, rows + 1] = ways[best, :, np.arange(len(rows))].T + step
        before, last = last, here
    total, count, difference = last[:, high]
    return float(difference / count), float(total / count)


def build(
    context: BuildContext,
    *,
    sample_rate: int,
    n_mels: int,
    window_ms: float,
    hop_ms: float,
    coefficients: int,
    align: Literal["dtw", "cut"],
) -> MelDistance:
    """From the settings."""
    window, hop = round(window_ms * sample_rate / 1000), round(hop_ms * sample_rate / 1000)
    return MelDistance(LogMel(sample_rate, n_mels, window, hop), coefficients, align)
