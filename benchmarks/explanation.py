"""Whether what explanations mark is what decides, on Fashion-MNIST: ``python -m benchmarks.explanation``.

A small CNN whose 7 × 7 places a transformer reads, trained on 12,000 pictures. Of 100 test pictures each map is summed over the
49 places of 4 × 4 pixels. Deletion: places are set to the baseline of integrated gradients, the highest first; insertion: they
are put back, the highest first (Petsiuk et al. 2018). The figure is the mean probability of the model's own label on the way:
less is better for deletion, more for insertion. ``--quick`` trains and measures a little.
"""

import argparse
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

import mmkit
from benchmarks.common import report, table
from recipes.common.cache import made_once, recipe_folder
from recipes.image_classification.prepare import LABELS, NAME, VERSION, make

SIDE, PLACES, PICTURES, ROWS, TESTED = 28, 7, 100, 12_000, 1000
STEP = SIDE // PLACES
ORDERS = ("integrated gradients", "attention × gradient", "attention rollout", "random")


def main() -> None:
    """Train, explain, take away."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="write the explanation of one test picture")
    options = parser.parse_args()
    data, _ = made_once(recipe_folder(NAME), VERSION, make)
    with TemporaryDirectory() as work:
        began = time.monotonic()
        model = _trained(data, Path(work), options.quick)
        seconds = time.monotonic() - began
        accuracy = mmkit.evaluate(model, "test")["article"].metrics["accuracy"]
    rows = pq.read_table(data / "test.parquet").slice(TESTED, 4 if options.quick else PICTURES).to_pylist()
    if options.picture:
        options.picture.write_bytes(mmkit.explain(model, "article", rows[0], attention=True).png())
    figures: dict[str, Any] = {name: {"deletion": [], "insertion": []} for name in ORDERS}
    for number, row in enumerate(rows):
        for name, order in _orders(model, row, number).items():
            for way, value in _areas(model, row, order).items():
                figures[name][way].append(value)
    cells = [(name, _with_error(both["deletion"]), _with_error(both["insertion"])) for name, both in figures.items()]
    shown = table(("places in the order of", "deletion (less is better)", "insertion (more is better)"), cells)
    said = f"{len(rows)} test pictures, test accuracy of the model {accuracy:.3f}, trained in {seconds:.0f} s; mean ± standard error."
    report("explanation", f"{said}\n\n{shown}", {"accuracy": accuracy, "seconds": seconds, "figures": figures})


def _trained(data: Path, where: Path, quick: bool) -> mmkit.Model:
    for part, rows in (("train", 200 if quick else ROWS), ("test", 50 if quick else TESTED)):
        pq.write_table(pq.read_table(data / f"{part}.parquet").slice(0, rows), where / f"{part}.parquet")
    image = {"use": "cnn", "image_size": SIDE, "in_channels": 1, "channels": [16, 32]}
    spec = {
        "mmkit": 1,
        "modalities": {"image": {"encoder": image, "adapter": "linear"}},
        "backbone": {"use": "transformer", "dim": 48, "layers": 2, "heads": 4, "dropout": 0.0},
        "tasks": {
            "article": {"input": "{image}", "output": "{label}", "head": {"use": "classify", "labels": list(LABELS)}}
        },
        "data": {part: [{"task": "article", "path": str(where / f"{part}.parquet")}] for part in ("train", "test")},
        "train": {"stages": [{"name": "all", "epochs": 3, "batch_size": 64, "lr": 3e-3}], "trackers": []},
    }
    return mmkit.train(spec, output=where / "model", say=lambda line: print(line, flush=True))


def _orders(model: mmkit.Model, row: dict[str, Any], seed: int) -> dict[str, list[int]]:
    """The places, those first that each map says speak most for the model's answer."""
    found = mmkit.explain(model, "article", row, attention=True)
    assert found.attention is not None
    pixels = found["image"].parts[0].attribution.sum(0)
    rollout, relevance = (part.attribution for part in found.attention.columns["image"])
    maps = (pixels.unflatten(0, (PLACES, STEP)).unflatten(2, (PLACES, STEP)).sum((1, 3)).flatten(), relevance, rollout)
    orders = [one.argsort(descending=True).tolist() for one in maps]
    return dict(zip(ORDERS, [*orders, random.Random(seed).sample(range(PLACES**2), PLACES**2)], strict=True))


def _areas(model: mmkit.Model, row: dict[str, Any], order: list[int]) -> dict[str, float]:
    """The mean probability of the label that the whole picture gets, over 0, 1, … all places taken away, or put back."""
    processor: Any = model.processors()["image"]
    whole = processor(row["image"])["pixels"]
    empty = torch.zeros_like(whole)
    gone = torch.zeros(len(order) + 1, SIDE, SIDE, dtype=torch.bool)
    for count, place in enumerate(order, 1):
        top, left = place // PLACES * STEP, place % PLACES * STEP
        gone[count:, top : top + STEP, left : left + STEP] = True
    deleted = torch.where(gone[:, None], empty, whole)
    inserted = torch.where(gone[:, None], whole, empty)
    answers = model.predict("article", [{"image": one} for one in _pictures(processor, torch.cat([deleted, inserted]))])
    label = answers[0]["label"]
    chances = np.array([answer["probabilities"][label] for answer in answers]).reshape(2, -1)
    return {"deletion": float(chances[0].mean()), "insertion": float(chances[1].mean())}


def _pictures(processor: Any, pixels: torch.Tensor) -> list[Image.Image]:
    made: list[Image.Image] = processor.pictures(pixels)
    return made


def _with_error(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values) / len(values) ** 0.5:.3f}"


if __name__ == "__main__":
    main()
