"""The classic Keras program beside the 20-line spec of ``recipes/sentiment_lstm``: the same rows, splits and settings.

``python -m benchmarks.keras_lstm`` (needs ``requirements/bench.txt``; ``KERAS_BACKEND`` is torch unless set) trains both for
each seed on the split of that seed, prints a table, and writes ``benchmarks/results/keras_lstm.json``.
"""

import argparse
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from math import sqrt
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml

from benchmarks.common import report, table
from recipes.common.cache import made_once, read_jsonl, recipe_folder
from recipes.sentiment_lstm.prepare import NAME, VERSION, make

os.environ.setdefault("KERAS_BACKEND", "torch")
SPEC = Path(__file__).parent.parent / "recipes" / NAME / "spec.yaml"
WORDS, EMBEDDING, STATE, BATCH = 10_000, 128, 128, 32
_WORD = re.compile(r"\w+(?:'\w+)*|[^\w\s]")


def split_of(seed: int) -> Path:
    """The folder of the split that belongs to a seed."""
    root = made_once(recipe_folder(NAME), VERSION, make)[0]
    return root / f"seed{seed}" if seed else root


def keras_program(folder: Path, seed: int, epochs: int) -> tuple[float, float]:
    """Embedding → LSTM → sigmoid as in Keras' own examples; accuracy on the test rows, and seconds of training."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(seed)
    train, test = read_jsonl(folder / "train.jsonl"), read_jsonl(folder / "test.jsonl")
    texts = [_WORD.findall(row["text"].lower()) for row in train]
    counts = Counter(word for text in texts for word in text)
    index = {word: number for number, (word, _) in enumerate(counts.most_common(WORDS - 2), 2)}  # 0 pads, 1 is unknown
    longest = max(len(text) for text in texts)

    def arrays(rows: Sequence[dict[str, Any]]) -> tuple[Any, Any]:
        ids = [[index.get(word, 1) for word in _WORD.findall(row["text"].lower())] for row in rows]
        return keras.utils.pad_sequences(ids, maxlen=longest), np.array([row["positive"] for row in rows], "float32")

    model = keras.Sequential(
        [
            keras.layers.Embedding(WORDS, EMBEDDING),
            keras.layers.LSTM(STATE),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="binary_crossentropy", metrics=["accuracy"])
    started = time.monotonic()
    model.fit(*arrays(train), batch_size=BATCH, epochs=epochs, verbose=0)
    seconds = time.monotonic() - started
    return float(model.evaluate(*arrays(test), verbose=0, return_dict=True)["accuracy"]), seconds


def mmkit_spec(folder: Path, seed: int, epochs: int) -> tuple[float, float]:
    """The recipe's spec over the same files; accuracy on the test rows, and seconds of training."""
    import mmkit

    spec = yaml.safe_load(SPEC.read_text("utf-8"))
    for part, sources in spec["data"].items():
        for source in sources:
            source["path"] = str(folder / f"{part}.jsonl")
    spec["train"]["stages"][0]["epochs"] = epochs
    with tempfile.TemporaryDirectory() as output:
        started = time.monotonic()
        model = mmkit.train(spec, output=output, seed=seed, say=lambda line: None)
        seconds = time.monotonic() - started
        return mmkit.evaluate(model)["mood"].metrics["accuracy"], seconds


PROGRAMS = {"Keras": keras_program, "mmkit": mmkit_spec}


def one(name: str, seed: int, epochs: int) -> tuple[float, float]:
    """One program with one seed, on one thread."""
    import torch

    torch.set_num_threads(1)
    return PROGRAMS[name](split_of(seed), seed, epochs)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", choices=[0, 1, 2], default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, each on one thread")
    options = parser.parse_args()
    tested = sum(len(read_jsonl(split_of(seed) / "test.jsonl")) for seed in options.seeds)
    runs = [(name, seed) for seed in options.seeds for name in PROGRAMS]
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(one, name, seed, options.epochs) for name, seed in runs]
        found = dict(zip(runs, (future.result() for future in waiting), strict=True))
    accuracies = {name: [found[name, seed][0] for seed in options.seeds] for name in PROGRAMS}
    lines = [
        [str(seed), *(f(found[name, seed]) for name in PROGRAMS for f in (_accuracy, _seconds))]
        for seed in options.seeds
    ]
    for what, statistic in (("mean", mean), ("deviation", _deviation)):
        lines.append([what, *(cell for name in PROGRAMS for cell in (f"{statistic(accuracies[name]):.4f}", ""))])
    shown = table(("seed", "Keras", "trained in", "mmkit", "trained in"), lines)
    middle = mean([*accuracies["Keras"], *accuracies["mmkit"]])
    error, difference = sqrt(2 * middle * (1 - middle) / tested), mean(accuracies["mmkit"]) - mean(accuracies["Keras"])
    note = f"mmkit less Keras {difference:+.4f}; standard error of that from {tested} test rows {error:.4f}."
    figures = {"accuracy": accuracies, "seconds": {f"{name} {seed}": found[name, seed][1] for name, seed in runs}}
    report(
        "keras_lstm",
        f"{shown}\n\n{note}",
        {"epochs": options.epochs, "seeds": options.seeds, "standard_error": error, **figures},
    )


def _accuracy(found: tuple[float, float]) -> str:
    return f"{found[0]:.4f}"


def _seconds(found: tuple[float, float]) -> str:
    return f"{found[1]:.0f} s"


def _deviation(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
