"""Mandarin syllables, spoken twice, and their tones: ``python -m recipes.audio_classification.prepare``.

Writes ``train.jsonl`` and ``valid.jsonl`` (recording set 3) and ``test.jsonl`` (set 5: another voice) with the columns
``audio`` (mono OGG), ``label`` (``tone1`` … ``tone4``), ``syllable`` (in Zhuyin, without the tone) and ``seconds``.
"""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import soundfile

from recipes.common.baselines import majority
from recipes.common.cache import write_json, write_jsonl
from recipes.common.debian import debian_package, package_version
from recipes.common.report import main
from recipes.common.split import shuffled, split

NAME, VERSION = "audio_classification", "1"
LICENCE = "set 3: GPL-3 or LGPL-3; set 5: CC-BY-3.0"
TRAIN_SET, TEST_SET = "3", "5"
VALID = 0.10
TONES = {"": "tone1", "2": "tone2", "3": "tone3", "4": "tone4"}
NEUTRAL = "1"


def make(folder: Path) -> None:
    """One row a clip with one of the four tones; the neutral tone (13 syllables) is left out."""
    package = debian_package("gcin-voice", LICENCE)
    clips = package / "usr/share/gcin-voice/ogg"
    parts = split(_rows(clips, TRAIN_SET, folder), lambda row: row["syllable"], test=0.0, valid=VALID)
    parts["test"] = _rows(clips, TEST_SET, folder)
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
        shutil.copyfile(clip, folder / audio)
        seconds = round(soundfile.info(clip).duration, 3)
        rows.append({"audio": audio, "label": TONES[tone], "syllable": syllable, "seconds": seconds})
    return rows


if __name__ == "__main__":
    main(NAME, VERSION, make, __doc__ or "")
