"""Mandarin syllables, spoken twice, and their tones: ``python -m recipes.audio_classification.prepare``.

Writes ``train.jsonl`` and ``valid.jsonl`` (recording set 3) and ``test.jsonl`` (set 5: another voice, an octave higher) with
the columns ``audio`` (mono OGG, rumble and silence cut off), ``label`` (``tone1`` … ``tone4``), ``syllable`` (in Zhuyin, without the tone) and
``seconds``; and ``train_faster.jsonl``, the clips of ``train.jsonl`` played faster (Ko et al. 2015, *Audio Augmentation for
Speech Recognition*), which raises the voice and keeps the tone.
"""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from recipes.common.baselines import majority
from recipes.common.cache import write_json, write_jsonl
from recipes.common.debian import debian_package, package_version
from recipes.common.report import main
from recipes.common.split import shuffled, split

NAME, VERSION = "audio_classification", "5"
LICENCE = "set 3: GPL-3 or LGPL-3; set 5: CC-BY-3.0"
TRAIN_SET, TEST_SET = "3", "5"
VALID = 0.10
COPIES, SLOWEST, FASTEST = 4, 1.1, 3.0
RATE, LOWEST_HZ = 16_000, 70
TONES = {"": "tone1", "2": "tone2", "3": "tone3", "4": "tone4"}
NEUTRAL = "1"


def make(folder: Path) -> None:
    """One row a clip with one of the four tones; the neutral tone (13 syllables) is left out."""
    package = debian_package("gcin-voice", LICENCE)
    clips = package / "usr/share/gcin-voice/ogg"
    parts = split(_rows(clips, TRAIN_SET, folder), lambda row: row["syllable"], test=0.0, valid=VALID)
    parts["test"] = _rows(clips, TEST_SET, folder)
    parts["train_faster"] = _faster(parts["train"], folder)
    for part, rows in parts.items():
        write_jsonl(folder / f"{part}.jsonl", shuffled(rows, lambda row: row["audio"]))
    labels = {part: [row["label"] for row in rows] for part, rows in parts.items()}
    baselines = {
        "source": package_version(package),
        "licence": LICENCE,
        "rows": {part: len(rows) for part, rows in parts.items()},
        "labels": {part: dict(sorted(Counter(values).items())) for part, values in labels.items()},
        "minutes": {part: round(sum(row["seconds"] for row in rows) / 60, 1) for part, rows in parts.items()},
        "always the commonest label": majority(labels["train"], labels["test"]),
    }
    write_json(folder / "baseline.json", baselines)


def _rows(clips: Path, recording: str, folder: Path) -> list[dict[str, Any]]:
    rows = []
    for clip in sorted(clips.glob(f"*/{recording}.ogg")):
        name = clip.parent.name
        syllable, tone = (name[:-1], name[-1]) if name[-1].isdigit() else (name, "")
        if tone == NEUTRAL:
            continue
        stem = "-".join(f"{ord(character):04x}" for character in syllable)
        audio = f"audio/{stem}-{TONES[tone]}-set{recording}.ogg"
        (folder / "audio").mkdir(exist_ok=True)
        samples = cleaned(*soundfile.read(clip, dtype="float32"))
        soundfile.write(folder / audio, samples, RATE)
        seconds = round(len(samples) / RATE, 3)
        rows.append({"audio": audio, "label": TONES[tone], "syllable": syllable, "seconds": seconds})
    return rows


def cleaned(samples: "np.ndarray", rate: int) -> "np.ndarray":
    """What the two rooms and microphones add, taken away: other rates, rumble, silence at the ends, loudness.

    At 16 kHz; nothing below 70 Hz; from the first to the last 10 ms within 30 dB of the loudest; RMS 0.1, peak below 1.
    """
    mono = samples if samples.ndim == 1 else samples.mean(1)
    wave = soxr.resample(mono, rate, RATE)
    spectrum = np.fft.rfft(wave)
    spectrum[np.fft.rfftfreq(len(wave), 1 / RATE) < LOWEST_HZ] = 0
    wave = np.fft.irfft(spectrum, len(wave))
    size = RATE // 100
    frames = wave[: len(wave) // size * size].reshape(-1, size)
    energy = (frames**2).mean(1)
    loud = np.flatnonzero(energy > energy.max() * 1e-3)
    wave = wave[loud[0] * size : (loud[-1] + 1) * size]
    wave = wave * 0.1 / np.sqrt((wave**2).mean())
    return np.asarray(wave / max(1.0, 1.01 * np.abs(wave).max()), np.float32)


def _faster(rows: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Copies as if the samples had been recorded at 1.1 to 3 times their rate, drawn evenly over the logarithm."""
    (folder / "faster").mkdir(exist_ok=True)
    draw = random.Random(0)
    copies = []
    for row in rows:
        samples, rate = soundfile.read(folder / row["audio"], dtype="float32")
        for copy in range(COPIES):
            speed = SLOWEST * (FASTEST / SLOWEST) ** draw.random()
            audio = f"faster/{Path(row['audio']).stem}-{copy}.ogg"
            soundfile.write(folder / audio, soxr.resample(samples, rate * speed, RATE), RATE)
            copies.append({**row, "audio": audio, "seconds": round(row["seconds"] / speed, 3)})
    return copies


if __name__ == "__main__":
    main(NAME, VERSION, make, __doc__ or "")
