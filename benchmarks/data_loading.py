"""The packed loader beside a plain torch ``DataLoader`` over the same rows, the same preparation and the same packing.

``python -m benchmarks.data_loading`` prints a table and writes ``benchmarks/results/data_loading.json``: medians of interleaved
runs, in samples a second and in processor time of all processes together. The plain loader has no seeds of its own for each
sample, no position that could be saved, and no token budget.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import mmkit
from benchmarks.common import report, table
from mmkit.data.loading import loader, open_all
from mmkit.model.batch import PackedBatch, Sample, pack
from mmkit.spec.schema import Stage

BATCH = 32
WORDS = ["a", "bright", "film", "about", "nothing", "that", "never", "ends", "in", "rain"]


def rows(folder: Path, kind: str, count: int) -> Path:
    """A JSONL file: texts of log-normal length, or names of JPEG files of 320 × 240 with a short text."""
    rng = np.random.default_rng(0)
    path = folder / f"{kind}.jsonl"
    if kind == "image":
        for index in range(32):
            noise = Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
            noise.resize((320, 240), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg")
    with path.open("w") as file:
        for index in range(count):
            length = int(np.clip(np.exp(rng.normal(4.0, 0.8)), 4, 400)) if kind == "text" else 8
            text = " ".join(rng.choice(WORDS, length))
            file.write(json.dumps({"text": text, "image": f"{index % 32}.jpg", "label": "pos"}) + "\n")
    return path


def model(path: Path, kind: str, workers: int) -> mmkit.Model:
    """Text or picture and text → label."""
    prompt = "{text} Good or bad?" if kind == "text" else "{image} {text} Good or bad?"
    head = {"use": "classify", "labels": ["neg", "pos"]}
    image = {"encoder": {"use": "cnn", "image_size": 112, "channels": [8, 16, 16, 16]}, "adapter": "linear"}
    modalities: dict[str, Any] = {"text": {"adapter": {"use": "words", "vocab_size": 50}}}
    spec = {
        "mmkit": 1,
        "modalities": modalities if kind == "text" else {**modalities, "image": image},
        "backbone": {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8},
        "tasks": {"mood": {"input": prompt, "output": "{label}", "head": head}},
        "data": {"workers": workers, "train": [{"task": "mood", "path": str(path)}]},
    }
    return mmkit.build(spec, fit={"text": [" ".join(WORDS) + " Good or bad?"]})


class Plain(Dataset[Sample]):
    """A row at a time."""

    def __init__(self, built: mmkit.Model) -> None:
        self.rows = open_all(built.plan, "train")[0]
        self.prepare = built.preparer(self.rows.root)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        return self.prepare("mood", self.rows.renamed(self.rows.rows[index]))


class Pack:
    """``collate_fn``."""

    def __init__(self, built: mmkit.Model) -> None:
        self.processors = built.processors()

    def __call__(self, samples: list[Sample]) -> PackedBatch:
        return pack(samples, self.processors)


def contenders(path: Path, kind: str, workers: int) -> dict[str, Callable[[], Iterable[PackedBatch]]]:
    """Whoever makes batches of the rows."""
    built = model(path, kind, workers)
    sources = open_all(built.plan, "train")
    fixed = Stage(name="a", steps=1, batch_size=BATCH)
    tokens = Stage(name="a", steps=1, tokens_per_batch=2048)
    plain = lambda: DataLoader(Plain(built), BATCH, shuffle=True, collate_fn=Pack(built), num_workers=workers)  # noqa: E731
    return {
        "DataLoader": plain,
        "mmkit, batch_size": lambda: loader(built, sources, fixed, seed=0),
        "mmkit, tokens_per_batch": lambda: loader(built, sources, tokens, seed=0),
    }


def run(make: Callable[[], Iterable[PackedBatch]], samples: int) -> tuple[float, float]:
    """Wall and processor seconds a sample; workers count once they have ended."""
    cpu, wall = sum(os.times()[:4]), time.perf_counter()
    seen, batches = 0, iter(make())
    for batch in islice(batches, samples):
        seen += len(batch.tasks)
        if seen >= samples:
            break
    wall = time.perf_counter() - wall
    del batches
    return wall / seen, (sum(os.times()[:4]) - cpu) / seen


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, dict[str, list[tuple[float, float]]]] = {}
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, count in (("text", 6400), ("image", 1600)):
            path = rows(Path(folder), kind, count)
            for workers in (0, 2):
                who = contenders(path, kind, workers)
                times: dict[str, list[tuple[float, float]]] = {name: [] for name in who}
                for _ in range(options.runs):
                    for name, make in who.items():
                        times[name].append(run(make, count - BATCH))
                figures[f"{kind}, {workers} workers"] = times
                walls = {name: median(wall for wall, _ in values) for name, values in times.items()}
                cpus = {name: median(cpu for _, cpu in values) for name, values in times.items()}
                for name in who:
                    speed, cost = f"{1 / walls[name]:,.0f}", f"{cpus[name] * 1e6:,.0f}"
                    ratio = f"{cpus['DataLoader'] / cpus[name]:.2f} ×"
                    lines.append((kind, str(workers), name, speed, cost, ratio))
    head = ("rows", "workers", "loader", "samples/s", "µs of processor a sample", "less than DataLoader")
    report("data_loading", table(head, lines), {"runs": options.runs, "seconds": figures})


if __name__ == "__main__":
    main()
