"""Rows of text, labels and numbers, and a model that takes them."""

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit
from mmkit.discovery import discover
from mmkit.registry.registry import PluginReport, Registry

SUPPORT = Path(__file__).parent / "support"
sys.path.insert(0, str(SUPPORT))

WORDS = ["a", "b", "c", "d", "e", "f", "g", "h"]
Make = Callable[..., mmkit.Model]


def write_rows(path: Path, count: int, seed: int = 0, longest: int = 40) -> Path:
    """Texts of 1 to ``longest`` words, each with a label and a list of numbers."""
    rng = random.Random(seed)
    with path.open("w") as file:
        for index in range(count):
            text = " ".join(rng.choices(WORDS, k=rng.randint(1, longest)))
            sensor = [rng.random() for _ in range(rng.randint(1, 5))]
            row = {"text": text, "label": rng.choice(["neg", "pos"]), "sensor": sensor, "index": index}
            file.write(json.dumps(row) + "\n")
    return path


def spec_of(sources: list[dict[str, Any]], **data: Any) -> dict[str, Any]:
    """A noisy sensor and a text → label; and text → text, whose targets are counted."""
    words = {"adapter": {"use": "words", "vocab_size": 50}}
    return {
        "mmkit": 1,
        "modalities": {"text": words, "sensor": {"encoder": "noisy-sensor"}},
        "backbone": {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8},
        "tasks": {
            "mood": {
                "input": "{sensor} {text}",
                "output": "{label}",
                "head": {"use": "classify", "labels": ["neg", "pos"]},
            },
            "echo": {"input": "{text} again", "output": "{text}", "head": {"use": "generate"}},
        },
        "data": {"train": sources, **data},
    }


def build(spec: dict[str, Any]) -> mmkit.Model:
    """The model, with the plugin of ``support``."""
    from noisy_sensor import COMPONENT

    registry = Registry([*discover().reports, PluginReport("noisy", "noisy", "0", "loaded", (COMPONENT,))])
    return mmkit.build(spec, registry=registry, fit={"text": [" ".join(WORDS)]})


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """``make(streaming=…, workers=…)``: a model over two weighted sources, the second streamed or not."""

    def made(streaming: bool = False, workers: int = 0, **data: Any) -> mmkit.Model:
        first = {"task": "mood", "path": str(write_rows(tmp_path / "a.jsonl", 97))}
        second = {"task": "echo", "path": str(write_rows(tmp_path / "b.jsonl", 61, 1)), "weight": 2.0}
        if streaming:
            second |= {"streaming": True, "shuffle_buffer": 16}
        return build(spec_of([first, second], workers=workers, **data))

    return made
