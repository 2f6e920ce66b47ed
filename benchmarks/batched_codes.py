"""Pictures a second that a model writes as codes: eight in a batch beside eight calls of one.

``python -m benchmarks.batched_codes`` prints a table and writes ``benchmarks/results/batched_codes.json``: medians of interleaved
runs. The model draws as recipes/text_to_image does (49 codes a picture, one after another); its weights are random, which costs the
same. Greedy and sampled pictures have to be the same both ways, or the program stops.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

import mmkit
from benchmarks.common import report, table
from recipes.common.run import RECIPES
from recipes.image_classification.prepare import LABELS

SIZES = {
    "that of the recipe": {"dim": 128, "layers": 4, "heads": 4},
    "25 M parameters": {"dim": 512, "layers": 8, "heads": 8},
}
WAYS: dict[str, dict[str, Any]] = {"greedy": {"temperature": 0.0}, "sampled": {"temperature": 1.0}}
ITEMS = 8


def build(folder: Path, backbone: dict[str, int]) -> mmkit.Model:
    """Words → codes of a picture tokenizer."""
    mmkit.build(RECIPES / "image_tokens" / "spec.yaml", seed=0).save(folder / "codec")
    spec = {
        "mmkit": 1,
        "modalities": {
            "text": {"adapter": {"use": "words", "vocab_size": 40}},
            "image": {"adapter": {"use": "image-codes", "codec": str(folder / "codec")}},
        },
        "backbone": {"use": "transformer", **backbone},
        "tasks": {
            "draw": {
                "input": "a {label}",
                "output": "{image}",
                "columns": {"label": "text"},
                "head": {"use": "generate"},
            }
        },
    }
    return mmkit.build(spec, fit={"text": [f"a {label}" for label in LABELS]}, seed=0).eval()


def measured(model: mmkit.Model, options: dict[str, Any], runs: int) -> dict[str, float]:
    """Median seconds of eight pictures, together and one after another."""
    rows = [{"label": label} for label in LABELS[:ITEMS]]
    times: dict[str, list[float]] = {"together": [], "one by one": []}
    for _ in range(runs + 1):
        started = time.perf_counter()
        together = model.predict("draw", rows, **options)
        times["together"].append(time.perf_counter() - started)
        started = time.perf_counter()
        alone = [model.predict("draw", row, **options) for row in rows]
        times["one by one"].append(time.perf_counter() - started)
        if [picture.tobytes() for picture in together] != [picture.tobytes() for picture in alone]:
            raise SystemExit("pictures differ between a batch and single calls")
    return {name: median(values[1:]) for name, values in times.items()}


def main() -> None:
    """Both sizes, greedy and sampled."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    rows, found = [], {}
    with tempfile.TemporaryDirectory() as name:
        for size, backbone in SIZES.items():
            folder = Path(name) / size.replace(" ", "-")
            folder.mkdir()
            model = build(folder, backbone)
            for way, given in WAYS.items():
                took = measured(model, given, options.runs)
                found[f"{size}, {way}"] = took
                rate = {who: ITEMS / seconds for who, seconds in took.items()}
                more = took["one by one"] / took["together"]
                rows.append((size, way, f"{rate['one by one']:.1f}", f"{rate['together']:.1f}", f"{more:.1f} ×"))
    head = ("model", "decoding", "one by one, pictures/s", "batch of 8, pictures/s", "as fast")
    said = f"Pictures of 49 codes, {torch.get_num_threads()} threads, medians of {options.runs} runs."
    report("batched_codes", f"{said}\n\n{table(head, rows)}", {"runs": options.runs, "seconds": found})


if __name__ == "__main__":
    main()
