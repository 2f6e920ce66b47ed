"""A stage with a frozen image tower and a small trainable head: features from the cache against encoding every epoch.

``python -m benchmarks.feature_cache`` trains two epochs per run, the variants in turn, each run with an empty cache;
prints medians and writes ``benchmarks/results/feature_cache.json``.
"""

import argparse
import json
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from benchmarks.common import report, table

SIDES, BATCH, LABELS = (640, 480), 16, ["one", "two"]
VIT = {"model_type": "vit", "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
TOWERS: dict[str, dict[str, Any]] = {
    "efficientnet_lite0": {"use": "timm", "model": "efficientnet_lite0", "image_size": 224},
    "ViT-S/16": {"use": "hf-vision", "config": {**VIT, "intermediate_size": 1536, "image_size": 224, "patch_size": 16}},
}


def pictures(folder: Path, count: int) -> Path:
    """JPEG files of smooth noise, and the manifest."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        noise = rng.integers(0, 255, (12, 16, 3), np.uint8)
        Image.fromarray(noise).resize(SIDES, Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=90)
        rows.append({"image": f"{number}.jpg", "label": LABELS[number % 2]})
    manifest = folder / "rows.jsonl"
    manifest.write_text("\n".join(json.dumps(row) for row in rows))
    return manifest


def spec(tower: str, manifest: Path, cache: dict[str, str], epochs: int) -> dict[str, Any]:
    """Tower, an MLP on its rows, a classifier on their mean."""
    return {
        "mmkit": 1,
        "modalities": {"image": {"encoder": TOWERS[tower], "adapter": {"use": "mlp", "hidden": 256}}},
        "backbone": {"use": "none", "dim": 256},
        "tasks": {
            "kind": {"input": "{image}", "output": "{label}", "head": {"use": "classify", "labels": LABELS}},
        },
        "data": {"train": [{"task": "kind", "path": str(manifest)}]},
        "train": {
            "cache": cache,
            "stages": [
                {"name": "head", "train": ["image.adapter", "kind.head"], "epochs": epochs, "batch_size": BATCH}
            ],
        },
    }


Clocks: TypeAlias = tuple[float, float]
"""Seconds of the wall clock, and of this process on the processor, which other programs on the machine change less."""


def now() -> Clocks:
    """Both clocks."""
    return time.perf_counter(), time.process_time()


def epochs_of(tower: str, manifest: Path, use: str, steps: int, epochs: int) -> tuple[list[Clocks], list[float]]:
    """Both times of each epoch, and the loss of every step."""
    import mmkit

    ends: list[Clocks] = []
    losses: list[float] = []

    def step(stage: str, at: int, of: int, logs: dict[str, float]) -> None:
        if "loss" in logs:
            losses.append(logs["loss"])
        elif not logs and at % steps == 0:
            ends.append(now())

    def say(line: str) -> None:
        if line.startswith("stage head: image.encoder"):
            ends.append(now())

    with tempfile.TemporaryDirectory() as where:
        settings = spec(tower, manifest, {"use": use, "folder": f"{where}/cache"}, epochs)
        settings["train"]["log_every"] = 1
        mmkit.train(settings, output=f"{where}/model", say=say, step=step)
    return [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(ends)], losses


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--towers", nargs="+", choices=list(TOWERS), default=list(TOWERS))
    options = parser.parse_args()
    steps = options.images // BATCH
    times: dict[str, dict[str, list[list[Clocks]]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        manifest = pictures(Path(folder), steps * BATCH)
        epochs_of(options.towers[0], manifest, "never", steps, 1)  # imports, and the files into memory
        for _ in range(options.runs):
            for tower in options.towers:
                losses = []
                for use in ("never", "always"):
                    seconds, seen = epochs_of(tower, manifest, use, steps, 2)
                    times.setdefault(tower, {}).setdefault(use, []).append(seconds)
                    losses.append(seen)
                if losses[0] != losses[1]:
                    raise SystemExit(f"the losses of {tower} differ: {losses}")
    title = (
        f"{steps * BATCH} JPEG files of {SIDES[0]} × {SIDES[1]}, batches of {BATCH}, medians of {options.runs} runs."
    )
    head = ("tower, 224 px", "second epoch", "from the cache", "faster", "by processor time", "first epoch, filling")
    shown = table(head, [[tower, *figures(by)] for tower, by in times.items()])
    report("feature_cache", f"{title}\n\n{shown}", {"images": steps * BATCH, "runs": options.runs, "seconds": times})


def figures(by: dict[str, list[list[Clocks]]]) -> list[str]:
    """Medians of the second epoch, how much faster, and what filling the cache adds to the first (processor time)."""
    middle = {
        (use, epoch, clock): median(run[epoch][clock] for run in runs)
        for use, runs in by.items()
        for epoch in (0, 1)
        for clock in (0, 1)
    }
    without, cached = middle["never", 1, 0], middle["always", 1, 0]
    faster = [f"{middle['never', 1, clock] / middle['always', 1, clock]:.1f} ×" for clock in (0, 1)]
    filling = middle["always", 0, 1] / middle["never", 0, 1] - 1
    return [f"{without:.2f} s", f"{cached:.2f} s", *faster, f"{filling:+.1%}"]


if __name__ == "__main__":
    main()
