"""The table of the README: ``python measure.py model``. What the model says of the test rows, beside answers without learning."""

import argparse
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simulate import COUNTS, RATE, REPORTS

import mmkit

Array = NDArray[np.float64]


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a data file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def intervals(ecg: Sequence[float]) -> Array:
    """Seconds between R waves, after Pan & Tompkins 1985: the squared slope, smoothed, above a share of its peaks."""
    slope = np.diff(np.array(ecg)) ** 2
    smooth = np.convolve(slope, np.ones(12) / 12, "same")
    found: list[int] = []
    for place in np.flatnonzero(smooth > 0.3 * np.quantile(smooth, 0.99)):
        if not found or place - found[-1] > 0.25 * RATE:
            found.append(int(place))
        elif smooth[place] > smooth[found[-1]]:
            found[-1] = int(place)
    return np.diff(found) / RATE


def rule(ecg: Sequence[float]) -> tuple[str, str]:
    """Rhythm and report by rules of thumb over the intervals."""
    gaps = intervals(ecg)
    if len(gaps) < 2:
        return "normal", REPORTS["normal"].format(rate=75)
    usual = np.median(gaps)
    early = int(((gaps[:-1] < 0.85 * usual) & (gaps[1:] > 1.15 * usual)).sum())
    even = np.abs(gaps / usual - 1) < 0.12
    rate = 60 / gaps.mean()
    if even.mean() < 0.5:
        rhythm = "fibrillation"
    elif early:
        rhythm = "pvc"
    else:
        rhythm = "bradycardia" if rate < 60 else "tachycardia" if rate > 100 else "normal"
    return rhythm, REPORTS[rhythm].format(rate=5 * round(rate / 5), count=COUNTS[min(early, 5)])


def scores(name: str, answers: Sequence[tuple[str, str]], wanted: Sequence[dict[str, Any]]) -> str:
    """One line of the table."""
    said = [rate_of(report) for _, report in answers]
    gap = np.mean([abs(got - row["rate"]) for got, row in zip(said, wanted, strict=True)])
    right = np.mean([got == row["rhythm"] for (got, _), row in zip(answers, wanted, strict=True)])
    exact = np.mean([got == row["report"] for (_, got), row in zip(answers, wanted, strict=True)])
    return f"| {name} | {right:.3f} | {exact:.3f} | {gap:.1f} |"


def rate_of(report: str) -> float:
    """The beats a minute that a report names; 0 if it names none."""
    found = re.search(r"about (\d+)", report)
    return float(found[1]) if found else 0.0


def answered(model: mmkit.Model, given: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Rhythm and report of the model."""
    samples = [{"ecg": row["ecg"]} for row in given]
    found = []
    for first in range(0, len(samples), 100):
        some = samples[first : first + 100]
        rhythms, reports = (model.predict(task, some) for task in ("rhythm", "report"))
        found += [(rhythm["label"], report) for rhythm, report in zip(rhythms, reports, strict=True)]
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Measure a trained model.")
    parser.add_argument("model", help="folder of the model")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data files")
    options = parser.parse_args()
    model, test, train = (
        mmkit.load(options.model),
        rows(options.data / "test.jsonl"),
        rows(options.data / "train.jsonl"),
    )
    common = tuple(Counter(row[column] for row in train).most_common(1)[0][0] for column in ("rhythm", "report"))
    answers = answered(model, test)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters; {len(test):,} subjects\n")
    print("| | rhythm: accuracy | report: exact | rate in the report: mean error |\n|---|---|---|---|")
    print(scores("the model", answers, test))
    print(scores("rules over the intervals between R waves", [rule(row["ecg"]) for row in test], test))
    print(scores("always the commonest", [common] * len(test), test))
    print("\n| test: is ↓, said → | " + " | ".join(REPORTS) + " |\n|---" + "|---" * len(REPORTS) + "|")
    for rhythm in REPORTS:
        said = Counter(got for (got, _), row in zip(answers, test, strict=True) if row["rhythm"] == rhythm)
        print(f"| {rhythm} | " + " | ".join(str(said[other]) for other in REPORTS) + " |")
    if (options.data / "real.jsonl").exists():
        real = rows(options.data / "real.jsonl")
        answers = answered(model, real)
        gap = np.mean([abs(rate_of(report) - row["rate"]) for (_, report), row in zip(answers, real, strict=True)])
        print(
            f"\n{len(real)} pieces of a real recording: rate {gap:.1f} beats off;", Counter(got for got, _ in answers)
        )
        for (_, report), row in list(zip(answers, real, strict=True))[:5]:
            print(f"  {report!r}, detected rate {row['rate']}")


if __name__ == "__main__":
    main()
