"""Rows of text, labels and numbers, a model that takes them, and what tests compare of its batches."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from noisy_sensor import COMPONENT
from safetensors.torch import save
from torch import Tensor

import mmkit
from mmkit.data.loading import PackedLoader, loader, open_all
from mmkit.discovery import discover
from mmkit.model.batch import PackedBatch
from mmkit.ragged import Ragged
from mmkit.registry.registry import PluginReport, Registry
from mmkit.spec.schema import Stage

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
    registry = Registry([*discover().reports, PluginReport("noisy", "noisy", "0", "loaded", (COMPONENT,))])
    return mmkit.build(spec, registry=registry, fit={"text": [" ".join(WORDS)]})


BATCHINGS = {
    "samples": {"batch_size": 5},
    "tokens": {"tokens_per_batch": 96, "lookahead": 12},
    "split": {"tokens_per_batch": 60, "lookahead": 4, "long_samples": "split"},
}


def stage(name: str) -> Stage:
    return Stage.model_validate({"name": "a", "steps": 1, **BATCHINGS[name]})


def tensors(batch: PackedBatch) -> dict[str, Tensor]:
    """Everything in a batch that a model sees."""
    found = {"ids": batch.ids, "stream": batch.stream, "stream_lengths": batch.stream_lengths}
    for name, items in batch.items.items():
        for key, value in items.items():
            found[f"{name}.{key}"] = value.values if isinstance(value, Ragged) else value
    found.update({f"targets.{task}": target.values for task, target in batch.targets.items()})
    return {name: tensor.contiguous() for name, tensor in found.items()}


def same(one: PackedBatch, other: PackedBatch) -> bool:
    return (one.addresses, save(tensors(one))) == (other.addresses, save(tensors(other)))


def made(model: Any, name: str, **options: Any) -> PackedLoader:
    return loader(model, open_all(model.plan, "train"), stage(name), **{"seed": 3, **options})


def prepare_in(queue: Any, preparer: Any) -> None:
    """Prepare one row in a process of its own."""
    sample = preparer("mood", {"text": "a b", "label": "pos", "sensor": [1.0, 2.0]})
    queue.put((sample.target.tolist(), [getattr(part, "tokens", None) for part in sample.parts]))
