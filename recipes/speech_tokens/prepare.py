"""The studio prompts of ``recipes.speech_recognition`` again: ``python -m recipes.speech_tokens.prepare``.

Writes the same files, and scores what needs no model: for every frame of a test clip the mean frame of the training clips.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from mmkit_audio.frame_distance import DECIBELS
from mmkit_audio.mel_processor import MelProcessor

from recipes.common.cache import read_jsonl, write_json
from recipes.common.report import main
from recipes.speech_recognition.prepare import make as make_prompts

NAME, VERSION = "speech_tokens", "1"
MEL = {"sample_rate": 8000, "n_mels": 80, "window_ms": 50, "hop_ms": 10}
MEAN = "the mean frame of the training clips"


def make(folder: Path) -> None:
    """The prompts, with a baseline of their own."""
    make_prompts(folder)
    mean = torch.cat(list(spectrograms(folder, "train"))).mean(0)
    test = torch.cat(list(spectrograms(folder, "test")))
    error = float((test - mean).square().mean())
    said = json.loads((folder / "baseline.json").read_text("utf-8"))
    baselines = {name: said[name] for name in ("source", "licence", "rows", "minutes", "left_out")}
    baselines[MEAN] = {"mel_distance": round(DECIBELS * math.sqrt(error), 3), "loss": round(error, 5)}
    write_json(folder / "baseline.json", baselines)


def spectrograms(folder: Path, part: str) -> Iterator[torch.Tensor]:
    """Log-mel frames of every clip, as the spec's encoder reads them."""
    prepared = MelProcessor.of(**MEL, stride=1)
    for row in read_jsonl(folder / f"{part}.jsonl"):
        yield prepared.frames(folder / row["audio"])


if __name__ == "__main__":
    main(NAME, VERSION, make, __doc__ or "")
