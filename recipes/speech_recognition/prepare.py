"""Spoken prompts with their transcripts: ``python -m recipes.speech_recognition.prepare``.

Writes ``train.jsonl``, ``valid.jsonl`` and ``test.jsonl`` with the columns ``audio`` (mono WAV, 8 kHz as recorded),
``text`` (normalised: lower case, no punctuation, digits as words), ``transcript`` (as published) and ``seconds``. Training
clips are at most 8 s long: a few long ones would make a training step three times as slow. ``train_speeds.jsonl`` has them
played slower and faster (Ko et al. 2015, *Audio Augmentation for Speech Recognition*).
"""

import gzip
import re
import shutil
from pathlib import Path
from typing import Any

import soundfile
import soxr

from recipes.common.baselines import error_rates, most_typical
from recipes.common.cache import write_json, write_jsonl
from recipes.common.debian import debian_package, package_version
from recipes.common.families import by_similarity
from recipes.common.report import main
from recipes.common.split import split

NAME, VERSION = "speech_recognition", "3"
LICENCE = "CC-BY-SA-3.0"
TEST, VALID = 0.15, 0.10
LONGEST, TRAIN_LONGEST = 30.0, 8.0
SPEEDS = (0.85, 0.92, 1.08, 1.15)
_UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def make(folder: Path) -> None:
    """Pair clips with transcripts, normalise, split by families of similar prompts, score the baselines."""
    clips = debian_package("asterisk-core-sounds-en-wav", LICENCE)
    texts = debian_package("asterisk-core-sounds-en", LICENCE)
    rows, left_out = _rows(clips, texts, folder)
    families = dict(zip((row["text"] for row in rows), by_similarity([row["text"] for row in rows]), strict=True))
    parts = split(rows, lambda row: families[row["text"]], test=TEST, valid=VALID)
    kept = [row for row in parts["train"] if row["seconds"] <= TRAIN_LONGEST]
    left_out["longer than 8 s, in train"] = len(parts["train"]) - len(kept)
    parts["train"] = kept
    parts["train_speeds"] = _speeds(kept, folder)
    for part, chosen in parts.items():
        write_jsonl(folder / f"{part}.jsonl", chosen)
    references = [row["text"] for row in parts["test"]]
    typical = most_typical([row["text"] for row in parts["train"]])
    baselines = {
        "source": [package_version(clips), package_version(texts)],
        "licence": LICENCE,
        "rows": {part: len(chosen) for part, chosen in parts.items()},
        "minutes": {part: round(sum(row["seconds"] for row in chosen) / 60, 1) for part, chosen in parts.items()},
        "left_out": left_out,
        "say nothing": error_rates([""] * len(references), references),
        "always the most typical prompt": {
            "answer": typical,
            **error_rates([typical] * len(references), references),
        },
    }
    write_json(folder / "baseline.json", baselines)


def _speeds(rows: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Copies of these clips at other speeds, pitch included."""
    copies = []
    for row in rows:
        wave, rate = soundfile.read(folder / row["audio"], dtype="float32")
        for speed in SPEEDS:
            audio = f"speeds/{Path(row['audio']).relative_to('audio').with_suffix('')}-{speed}.wav"
            (folder / audio).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / audio, soxr.resample(wave, rate, round(rate / speed)), rate)
            copies.append({**row, "audio": audio, "seconds": round(row["seconds"] / speed, 2)})
    return copies


def _rows(clips: Path, texts: Path, folder: Path) -> tuple[list[dict[str, Any]], dict[str, int]]:
    (sounds,) = (clips / "usr/share/asterisk/sounds").glob("en_US_*")
    (listing,) = (texts / "usr/share/doc/asterisk-core-sounds-en").glob("core-sounds-en.txt*")
    rows: list[dict[str, Any]] = []
    left_out = {"no words": 0, "no clip": 0, "longer than 30 s": 0}
    open_text = gzip.open if listing.suffix == ".gz" else open
    with open_text(listing, "rt", encoding="utf-8") as file:
        for line in file:
            name, colon, transcript = line.strip().partition(": ")
            if not colon or line.startswith(";"):
                continue
            text, wav = normalise(transcript), sounds / f"{name}.wav"
            if not text:
                left_out["no words"] += 1
            elif not wav.exists():
                left_out["no clip"] += 1
            elif (seconds := soundfile.info(wav).duration) > LONGEST:
                left_out["longer than 30 s"] += 1
            else:
                audio = f"audio/{name}.wav"
                (folder / audio).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(wav, folder / audio)
                rows.append({"audio": audio, "text": text, "transcript": transcript, "seconds": round(seconds, 2)})
    return rows, left_out


def normalise(transcript: str) -> str:
    """What is spoken, in a–z, apostrophe and space; empty for a sound that is only described ([ ], ( ), < >).

    >>> normalise("Press 1 to toggle; 18 for help [beep].")
    'press one to toggle eighteen for help'
    """
    spoken = re.sub(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>", " ", transcript)
    spoken = re.sub(r"\d+", lambda match: f" {_number(int(match.group()))} ", spoken.lower().replace("’", "'"))
    spoken = re.sub(r"\b([a-z])\.(?=[a-z]\.)|\b([a-z])\.(?=\W|$)", r"\1\2 ", spoken)  # a.m. → a m
    return " ".join(re.sub(r"[^a-z' ]+", " ", spoken).split())


def _number(value: int) -> str:
    if value < 20:
        return _UNITS[value]
    if value < 100:
        return _TENS[value // 10] + (f" {_UNITS[value % 10]}" if value % 10 else "")
    return " ".join(_UNITS[int(digit)] for digit in str(value))


if __name__ == "__main__":
    main(NAME, VERSION, make, __doc__ or "")
