"""Electrocardiograms of subjects who never repeat: ``python simulate.py``.

Writes ``data/train.jsonl``, ``valid.jsonl`` and ``test.jsonl`` with the columns ``ecg`` (millivolts, 128 a second), ``rhythm``,
``report`` and ``rate`` (beats a minute). The signal is the dynamical model of McSharry et al. 2003 (*A dynamical model for
generating synthetic electrocardiogram signals*, IEEE Trans. Biomed. Eng. 50): a point that runs round a circle once a beat
and is pushed up and down by five waves, three coupled differential equations. Every recording has a subject of its own:
waves, rate, breathing, noise. Waves are given by their heights, as in Sameni et al. 2007; ectopic beats and fibrillation change
waves and intervals, as in Clifford et al. 2010.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

Array = NDArray[np.float64]
RATE, STEPS = 128, 256
RHYTHMS = ("normal", "bradycardia", "tachycardia", "pvc", "fibrillation")
RATES = {
    "normal": (61, 99),
    "bradycardia": (35, 59),
    "tachycardia": (101, 160),
    "pvc": (55, 105),
    "fibrillation": (55, 160),
}
REPORTS = {
    "normal": "Sinus rhythm at about {rate} beats a minute",
    "bradycardia": "Slow sinus rhythm at about {rate} beats a minute",
    "tachycardia": "Fast sinus rhythm at about {rate} beats a minute",
    "pvc": "Sinus rhythm at about {rate} beats a minute with {count} premature ventricular beats",
    "fibrillation": "Irregular rhythm without P waves at about {rate} beats a minute",
}
COUNTS = ("no", "one", "two", "three", "four", "five")
ANGLES = np.radians([-70.0, -15.0, 0.0, 15.0, 100.0])  # P, Q, R, S, T
HEIGHTS = np.array([0.25, -0.17, 1.0, -0.25, 0.4])  # millivolts
WIDTHS = np.array([0.25, 0.1, 0.1, 0.1, 0.4])


@dataclass(frozen=True)
class Subject:
    """One recording before it is recorded: when its beats come, and what each wave looks like.

    Attributes:
        peaks: times of the R waves, from before the recording to behind it. ectopic: which of them are ventricular.
        waves: angle, height and width of the five waves of a normal and of a ventricular beat, [2, 3, 5].
    """

    rhythm: str
    seconds: float
    peaks: Array
    ectopic: NDArray[np.bool_]
    waves: Array
    seed: int

    def seen(self) -> NDArray[np.bool_]:
        """Which beats lie well within the recording."""
        return (self.peaks > 0.3) & (self.peaks < self.seconds - 0.3)

    def rate(self) -> float:
        """Beats a minute."""
        peaks = self.peaks[self.seen()]
        return float(60 * (len(peaks) - 1) / (peaks[-1] - peaks[0]))

    def row(self, ecg: Array) -> dict[str, Any]:
        """The row of a data file."""
        rate, count = self.rate(), int(self.ectopic[self.seen()].sum())
        report = REPORTS[self.rhythm].format(rate=5 * round(rate / 5), count=COUNTS[count])
        report = report.replace("one premature ventricular beats", "one premature ventricular beat")
        return {"ecg": ecg.round(3).tolist(), "rhythm": self.rhythm, "report": report, "rate": round(rate, 1)}


def subject(rhythm: str, seed: int) -> Subject:
    """Everything about a recording, drawn."""
    draw = default_rng(seed)
    seconds, interval = draw.uniform(7, 12), 60 / draw.uniform(*RATES[rhythm])
    before, during = int(2 / interval) + 3, int(seconds / interval)
    beats = before + during + 6
    if rhythm == "fibrillation":
        spread = draw.uniform(0.14, 0.28)
        intervals = interval * np.clip(draw.lognormal(-(spread**2) / 2, spread, beats), 0.45, 2)
    else:  # two lines for the two bands of the heart rate's spectrum: blood pressure at 0.1 Hz, breathing
        times = interval * np.arange(beats)
        slow, breath = (np.sin(2 * np.pi * (f * times + draw.random())) for f in (0.1, draw.uniform(0.18, 0.32)))
        intervals = interval * (1 + draw.uniform(0, 0.02) * slow + draw.uniform(0, 0.03) * breath)
        intervals *= 1 + draw.normal(0, 0.005, beats)
    ectopic = np.zeros(beats + 1, dtype=bool)
    if rhythm == "pvc":
        choices = during // 2 - 1
        places = before + 2 + 2 * draw.choice(choices, min(int(draw.integers(1, 5)), choices), replace=False)
        early = draw.uniform(0.55, 0.75)
        ectopic[places] = True
        intervals[places] *= 2 - early  # the pause makes up for what the beat came too early
        intervals[places - 1] *= early
    peaks = np.concatenate([[0.0], intervals.cumsum()])
    peaks += draw.uniform(0, 1) * interval - peaks[before]
    return Subject(rhythm, seconds, peaks, ectopic, _waves(draw, interval, rhythm), seed)


def _waves(draw: Generator, interval: float, rhythm: str) -> Array:
    factor = (1 / interval) ** 0.5  # waves take a larger part of a shorter beat, as in ECGSYN
    angles = ANGLES * factor ** np.array([0.5, 1, 1, 1, 0.5]) * draw.uniform(0.9, 1.1, 5)
    normal = np.stack([angles, HEIGHTS * draw.uniform(0.6, 1.4, 5), WIDTHS * factor * draw.uniform(0.85, 1.15, 5)])
    ventricular = normal.copy()
    ventricular[1] *= [0, 0, draw.uniform(1, 2) * draw.choice([-1, 1], p=[0.3, 0.7]), 1, -draw.uniform(0.8, 2)]
    ventricular[2] *= [1, 1, draw.uniform(2, 3), 2, 1.2]  # wide, without a P wave, with a T wave the other way
    if rhythm == "fibrillation":
        normal[1, 0] = 0
    return np.stack([normal, ventricular])


def record(subjects: list[Subject]) -> list[Array]:
    """The equations, solved for all subjects at once (Runge-Kutta of order 4), then what the electrodes add."""
    longest = max(subject.seconds for subject in subjects)
    grid = np.arange(2 * int(longest * STEPS) + 1 + 2 * STEPS) / (2 * STEPS) - 1  # half steps, from a second before
    turn, beat = np.empty((2, len(subjects), len(grid)))
    for place, one in enumerate(subjects):
        after = np.searchsorted(one.peaks, grid).clip(1, len(one.peaks) - 1)
        turn[place] = 2 * np.pi / np.diff(one.peaks)[after - 1]
        beat[place] = one.ectopic[
            np.searchsorted((one.peaks[1:] + one.peaks[:-1]) / 2, grid).clip(0, len(one.peaks) - 1)
        ]
    waves = np.stack([one.waves for one in subjects])
    start = [np.interp(grid[0], one.peaks, 2 * np.pi * np.arange(len(one.peaks))) for one in subjects]
    state = np.stack([np.cos(start), np.sin(start), np.zeros(len(subjects))])
    step, heights = 1 / STEPS, np.empty((len(subjects), len(grid) // 2))
    for now in range(len(grid) // 2):
        heights[:, now] = state[2]
        shape = np.where(beat[:, 2 * now, None, None] > 0, waves[:, 1], waves[:, 0])
        first = slope(state, turn[:, 2 * now], shape)
        second = slope(state + step / 2 * first, turn[:, 2 * now + 1], shape)
        third = slope(state + step / 2 * second, turn[:, 2 * now + 1], shape)
        last = slope(state + step * third, turn[:, 2 * now + 2], shape)
        state = state + step / 6 * (first + 2 * second + 2 * third + last)
    return [electrodes(one, height[STEPS:]) for one, height in zip(subjects, heights, strict=True)]


def slope(state: Array, turn: Array, waves: Array) -> Array:
    """dx/dt, dy/dt and dz/dt of every subject."""
    x, y, z = state
    pull = 1 - np.hypot(x, y)
    gap = (np.arctan2(y, x)[:, None] - waves[:, 0] + np.pi) % (2 * np.pi) - np.pi
    push = -turn * (waves[:, 1] * gap / waves[:, 2] ** 2 * np.exp(-((gap / waves[:, 2]) ** 2) / 2)).sum(1)
    return np.stack([pull * x - turn * y, pull * y + turn * x, push - z])


def electrodes(one: Subject, height: Array) -> Array:
    """Millivolts at 128 Hz: the gain, muscles, the drift of breathing, mains, and fibrillating atria."""
    draw = default_rng(one.seed + 1_000_000)
    time = np.arange(int(one.seconds * RATE)) / RATE
    signal = height[:: STEPS // RATE][: len(time)] * draw.uniform(0.5, 2)
    for low, high, most in ((0.1, 0.45, 0.2), (0.1, 0.45, 0.1), (50, 50, 0.03)):
        signal = signal + draw.uniform(0, most) * np.sin(2 * np.pi * (draw.uniform(low, high) * time + draw.random()))
    if one.rhythm == "fibrillation":
        wander = np.sin(2 * np.pi * (draw.uniform(0.1, 0.5) * time + draw.random()))
        turns = draw.uniform(4, 9) * time + draw.uniform(0.2, 0.6) * wander
        signal += draw.uniform(0.02, 0.1) * sum(np.sin(2 * np.pi * n * turns) / n for n in (1, 2, 3))
    return signal + draw.normal(0, draw.uniform(0.01, 0.05), len(time))


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    """As many subjects, all rhythms alike, whose seeds follow ``seed``."""
    made = []
    for first in range(seed, seed + count, 500):
        subjects = [subject(RHYTHMS[s % len(RHYTHMS)], s) for s in range(first, min(first + 500, seed + count))]
        made += [one.row(ecg) for one, ecg in zip(subjects, record(subjects), strict=True)]
    return made


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description="Simulate electrocardiograms.")
    parser.add_argument("--output", type=Path, default=Path("data"), help="folder of the files")
    parser.add_argument("--train", type=int, default=6000, help="recordings to train on")
    parser.add_argument("--test", type=int, default=1000, help="recordings to test on")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    parts = {"train": (options.train, 0), "valid": (options.test // 4, 200_000), "test": (options.test, 400_000)}
    for part, (count, seed) in parts.items():
        with (options.output / f"{part}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows(count, seed))


if __name__ == "__main__":
    main()
