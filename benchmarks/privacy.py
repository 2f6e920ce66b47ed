"""Accuracy and membership inference with and without private training, on Fashion-MNIST: ``python -m benchmarks.privacy``.

4,000 training pictures, a small CNN with group normalisation, trained to overfit without privacy and by DP-SGD with two
budgets; 2,000 of the training pictures are members, 2,000 held-out ones are not. ``--quick`` trains a few steps.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq

import mmkit
from benchmarks.common import report, table
from mmkit.audit import audit
from recipes.common.cache import made_once, recipe_folder
from recipes.image_classification.prepare import LABELS, NAME, VERSION, make

ROWS, AUDITED, TESTED = 4000, 2000, 2000
RUNS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "ε 8": {"epsilon": 8.0, "delta": 1e-5, "clip": 1.0},
    "ε 1": {"epsilon": 1.0, "delta": 1e-5, "clip": 1.0},
}


def main() -> None:
    """Train, evaluate and attack each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    data, _ = made_once(recipe_folder(NAME), VERSION, make)
    with TemporaryDirectory() as work:
        where = Path(work)
        for name, part, rows in (("members", "train", AUDITED), ("train", "train", ROWS), ("others", "valid", AUDITED)):
            pq.write_table(
                pq.read_table(data / f"{part}.parquet").slice(0, 200 if quick else rows), where / f"{name}.parquet"
            )
        pq.write_table(pq.read_table(data / "test.parquet").slice(0, TESTED), where / "test.parquet")
        figures = {name: _run(where, privacy, quick) for name, privacy in RUNS.items()}
    cells = [
        (
            name,
            f"{f['accuracy']:.3f}",
            f"{f['auc'][0]:.3f} ({f['auc'][1]:.3f} – {f['auc'][2]:.3f})",
            f"{f['tpr'][0]:.1%}",
            f"{f['noise']:.2f}" if f["noise"] is not None else "–",
            f"{f['seconds']:.0f} s",
        )
        for name, f in figures.items()
    ]
    head = (
        "privacy",
        "test accuracy",
        "AUC of the attack (95%)",
        "members found at 1% false alarms",
        "noise multiplier",
        "time",
    )
    report("privacy", table(head, cells), {"runs": figures})


def _run(where: Path, privacy: dict[str, Any] | None, quick: bool) -> dict[str, Any]:
    image = {
        "use": "cnn",
        "image_size": 28,
        "in_channels": 1,
        "features": "pooled",
        "channels": [16, 32],
        "norm": "group",
    }
    ordinary = {"name": "all", "epochs": 40, "batch_size": 64, "lr": 4e-3, "weight_decay": 0.0}
    private = {"name": "all", "epochs": 15, "batch_size": 256, "lr": 1e-2, "schedule": "constant"}
    stage: dict[str, Any] = private if privacy else ordinary
    if quick:
        stage = {**stage, "batch_size": 32, "epochs": 1}
    spec = {
        "mmkit": 1,
        "modalities": {"image": {"encoder": image}},
        "tasks": {
            "article": {"input": "{image}", "output": "{label}", "head": {"use": "classify", "labels": list(LABELS)}}
        },
        "data": {"train": [{"task": "article", "path": str(where / "train.parquet")}]}
        | {"test": [{"task": "article", "path": str(where / "test.parquet")}]},
        "train": {"stages": [stage], "privacy": privacy, "trackers": []},
    }
    began = time.monotonic()
    model = mmkit.train(spec, output=where / "model", say=lambda line: print(line, flush=True))
    seconds = time.monotonic() - began
    accuracy = mmkit.evaluate(model, "test")["article"].metrics["accuracy"]
    found = audit(model, "article", where / "members.parquet", where / "others.parquet")
    auc, tpr = found.attacks["loss"]["auc"], found.attacks["loss"]["tpr_at_1_fpr"]
    return {
        "accuracy": accuracy,
        "auc": [auc.value, auc.low, auc.high],
        "tpr": [tpr.value, tpr.low, tpr.high],
        "noise": model.privacy["noise_multiplier"] if model.privacy else None,
        "epsilon": model.privacy["epsilon"] if model.privacy else None,
        "seconds": seconds,
    }


if __name__ == "__main__":
    main()
