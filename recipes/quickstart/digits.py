"""Digits, drawn by people and spoken by a synthesiser, and who judges what a model makes of them.

The pictures are the 1,797 of scikit-learn (8 × 8, from the UCI repository); the words are **synthetic** speech. Judges have never
seen what a model makes: a support vector machine names drawings, having learnt from the real training pictures, and a
spoken word is taken for that of the recording whose log-mel is nearest.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recipes.common.cache import read_jsonl, write_jsonl
from recipes.common.emoji_draw import demo_package
from recipes.common.speech import SAMPLE_RATE, Speaker

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
VOICES, RATES = ("en-us", "en-us+f2", "en-us+m3", "en-us+f4", "en-us+m7"), (170, 200, 230)
TEST, SECONDS = 300, 0.64


def make(folder: Path) -> None:
    """Write ``train.jsonl`` and ``test.jsonl`` with the columns ``image``, ``word`` and ``spoken``, one of 15 recordings of it."""
    (folder / "images").mkdir(parents=True)
    (folder / "audio").mkdir()
    for voice in VOICES:
        for rate in RATES:
            speaker = Speaker(voice, rate)
            for word in WORDS:
                speaker.write(word, folder / f"audio/{word}-{voice}-{rate}.flac")
    digits = demo_package("sklearn.datasets").load_digits()
    draw = np.random.default_rng(0)
    rows = []
    for place in draw.permutation(len(digits.images)):
        image, word = f"images/{place}.png", WORDS[digits.target[place]]
        Image.fromarray(np.round(digits.images[place] * 255 / 16).astype(np.uint8)).save(folder / image)
        recording = f"audio/{word}-{draw.choice(VOICES)}-{draw.choice(RATES)}.flac"
        rows.append({"image": image, "word": word, "spoken": recording})
    write_jsonl(folder / "test.jsonl", rows[:TEST])
    write_jsonl(folder / "train.jsonl", rows[TEST:])


class Namer:
    """Names pictures of digits."""

    def __init__(self, folder: Path) -> None:
        rows = read_jsonl(folder / "train.jsonl")
        pictures = [Image.open(folder / row["image"]) for row in rows]
        self.machine = demo_package("sklearn.svm").SVC().fit(_pixels(pictures), [row["word"] for row in rows])

    def __call__(self, pictures: Sequence[Any]) -> list[str]:
        """Their words."""
        return [str(word) for word in self.machine.predict(_pixels(pictures))]


class Listener:
    """Takes a sound for the word of the recording that is nearest."""

    def __init__(self, folder: Path) -> None:
        import soundfile

        paths = sorted((folder / "audio").glob("*.flac"))
        self.words = [path.name.partition("-")[0] for path in paths]
        self.mels = np.stack([_mel(soundfile.read(path, dtype="float32")[0]) for path in paths])

    def __call__(self, sounds: Sequence[dict[str, Any]]) -> list[str]:
        """Their words; a sound is as ``mmkit`` gives it, 16 kHz."""
        return [self.words[int(((self.mels - _mel(sound["array"])) ** 2).mean((1, 2)).argmin())] for sound in sounds]


def _pixels(pictures: Sequence[Any]) -> "np.ndarray":
    """One row a picture, 0 … 16 as in the data set."""
    return np.stack([np.asarray(picture.convert("L"), dtype=np.float64).reshape(-1) * 16 / 255 for picture in pictures])


def _mel(wave: "np.ndarray") -> "np.ndarray":
    """Log-mel of the first 0.64 s, 40 bands, 10 ms."""
    import torch
    import torchaudio

    longest = round(SECONDS * SAMPLE_RATE)
    wave = np.pad(np.asarray(wave, dtype=np.float32), (0, longest))[:longest]
    mel = torchaudio.transforms.MelSpectrogram(SAMPLE_RATE, 400, hop_length=160, n_mels=40)
    return np.asarray(torch.log(mel(torch.from_numpy(wave)) + 1e-3))
