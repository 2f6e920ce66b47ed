"""Sounds that a model speaks, and what a recogniser says that they are."""

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recipes.common.baselines import error_rates
from recipes.common.cache import read_jsonl
from recipes.common.split import shuffled
from recipes.text_to_speech.prepare import DIGITS

TASK = "speak"
_ORDINALS = {
    "one st": "first",
    "two nd": "second",
    "three rd": "third",
    "five th": "fifth",
    "eight th": "eighth",
    "nine th": "ninth",
    "twelve th": "twelfth",
}
RECORDED, CODEC, ANOTHER = "recorded", "recorded, through the codec", "another recording"


def look(model: Any, output: Path, data: Path, words: int, temperatures: Sequence[float]) -> dict[str, Any]:
    """What is heard of the words and of the unseen prompts: as recorded, as the codec gives them back, of another recording,
    and as the model speaks them. Some of the sounds are written to ``output``."""
    from recipes.speech_tokens.hear import heard

    found: dict[str, Any] = {RECORDED: {}, CODEC: {}, ANOTHER: {}}
    every = read_jsonl(data / "words.jsonl")
    vocabulary = {"words": [row["text"] for row in every], "prompts": []}
    judge = {"words": chosen(every, words), "prompts": read_jsonl(data / "test.jsonl")}
    for part, rows in judge.items():
        paths, texts = [data / row["audio"] for row in rows], [row["text"] for row in rows]
        sounds = {RECORDED: original(paths), CODEC: through(model, paths)}
        for temperature in temperatures:
            name, began = f"spoken, temperature {temperature:g}", time.monotonic()
            sounds[name] = spoken(model, rows, temperature=temperature)
            length = sum(len(sound["array"]) / sound["sampling_rate"] for sound in sounds[name])
            found.setdefault(name, {})[f"{part}, seconds a second"] = round((time.monotonic() - began) / length, 3)
        said = {name: heard(given) for name, given in sounds.items()}
        said[ANOTHER] = [said[RECORDED][place] for place in another(rows)]
        for name, answers in said.items():
            found.setdefault(name, {}).update(_figures(part, answers, texts, vocabulary[part], said[RECORDED]))
        for name, given in sounds.items():
            write(output / "sounds", part, name, given, texts)
    return found


def _figures(
    part: str, answers: Sequence[str], texts: Sequence[str], vocabulary: Sequence[str], recorded: Sequence[str]
) -> dict[str, Any]:
    """Of all texts, of the digits, and of those that the recogniser understands as they were recorded."""
    clear = [place for place, one in enumerate(right(recorded, texts)) if one]
    digits = [place for place, text in enumerate(texts) if text in DIGITS]
    figures: dict[str, Any] = {}
    for name, places in ((part, range(len(texts))), (f"{part}, clear", clear), ("digits", digits)):
        if places:
            figures[name] = judged([answers[at] for at in places], [texts[at] for at in places], vocabulary)
            figures[name]["of"] = len(places)
    return {**figures, f"{part}, heard": list(zip(texts, answers, strict=True))}


def spoken(model: Any, rows: Sequence[dict[str, Any]], batch: int = 32, **options: Any) -> list[dict[str, Any]]:
    """What the model says for every text; row n has the seed n."""
    sounds: list[dict[str, Any]] = []
    for first in range(0, len(rows), batch):
        some = [{"text": row["text"]} for row in rows[first : first + batch]]
        sounds += model.predict(TASK, some, seed=list(range(first, first + len(some))), **options)
    return sounds


def judged(heard: Sequence[str], texts: Sequence[str], vocabulary: Sequence[str] = ()) -> dict[str, float]:
    """Error rates, and ``right``, the share of texts that are heard as they are. With a vocabulary also ``nearest``: the
    share where, of its words, the right one is the most similar to what is heard (normalised Levenshtein)."""
    from rapidfuzz import fuzz, process

    figures = {"right": _share(right(heard, texts))}
    if vocabulary:
        found = [process.extractOne(ordinals(one), vocabulary, scorer=fuzz.ratio) for one in heard]
        figures["nearest"] = _share([one[0] == text for one, text in zip(found, texts, strict=True)])
    return {**figures, **error_rates([ordinals(one) for one in heard], texts)}


def right(heard: Sequence[str], texts: Sequence[str]) -> list[bool]:
    """Whether each text is heard as it is, spaces left aside: "upper case" is "uppercase"."""
    joined = [ordinals(one).replace(" ", "") for one in heard]
    return [one == text.replace(" ", "") for one, text in zip(joined, texts, strict=True)]


def _share(found: Sequence[bool]) -> float:
    return round(sum(found) / len(found), 4)


def ordinals(text: str) -> str:
    """Normalised text whose ordinals were written in digits.

    >>> ordinals("the fifty th and the one st")
    'the fiftieth and the first'
    """
    for cardinal, ordinal in _ORDINALS.items():
        text = re.sub(rf"\b{cardinal}\b", ordinal, text)
    return re.sub(r"([a-z]) th\b", r"\1th", re.sub(r"ty th\b", "tieth", text))


def chosen(words: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The ten digits and, of the other words, as many as make ``count``, by the hash of their text."""
    digits = [row for row in words if row["text"] in DIGITS]
    others = shuffled((row for row in words if row["text"] not in DIGITS), lambda row: row["text"])
    return [*digits, *others[: max(0, count - len(digits))]]


def another(rows: Sequence[dict[str, Any]]) -> list[int]:
    """For every row the place of another one, all different: what is said where nothing is read."""
    order = [rows.index(row) for row in shuffled(rows, lambda row: row["audio"], "another")]
    following = dict(zip(order, [*order[1:], order[0]], strict=True))
    return [following[place] for place in range(len(rows))]


def original(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The recordings as they are."""
    import soundfile

    read = [soundfile.read(path, dtype="float32") for path in paths]
    return [{"array": wave, "sampling_rate": rate} for wave, rate in read]


def through(model: Any, paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The recordings as codes, and back: the best that the model can speak."""
    codec = model.vocabularies["audio"]
    return [codec.restore(codec.quantize(path)) for path in paths]


def write(
    folder: Path, part: str, name: str, sounds: Sequence[dict[str, Any]], texts: Sequence[str], most: int = 12
) -> None:
    """The first sounds as WAV files named after what is to be said."""
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    for number, (sound, text) in enumerate(zip(sounds[:most], texts, strict=False)):
        file = folder / f"{part}, {number:02}, {text[:40]}, {name}.wav"
        soundfile.write(file, sound["array"].clip(-1, 1), sound["sampling_rate"])
