"""Loading a 135 M-parameter checkpoint beside reading its bytes: medians of interleaved runs, each in a fresh process.

``python -m benchmarks.checkpoint_load`` saves an untrained model of SmolLM2-135M's architecture, prints a table and writes
``benchmarks/results/checkpoint_load.json``. Cold: the file's pages are dropped from the page cache before each run
(``posix_fadvise``; where the file system ignores that, cold equals warm). Warm: the file was read just before. Loading maps
the weights into memory and the system reads a page when it is first used, hence the line that uses every page.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import report, table

SPEC: dict[str, Any] = {
    "mmkit": 1,
    "modalities": {"text": {"adapter": {"use": "bpe", "vocab_size": 300}}},
    "backbone": {
        "use": "causal-lm",
        "config": {  # as in SmolLM2-135M's config.json
            "model_type": "llama",
            "vocab_size": 49152,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "tie_word_embeddings": True,
        },
    },
    "tasks": {"say": {"input": "{text}", "output": "{answer}", "columns": {"answer": "text"}, "head": "generate"}},
}
CHUNK, PAGE = 16 * 1024 * 1024, 4096


def read_bytes(folder: Path) -> float:
    """Seconds to read every file of the checkpoint into memory."""
    started = time.perf_counter()
    held = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
    seconds = time.perf_counter() - started
    assert held
    return seconds


def stream_bytes(folder: Path) -> float:
    """Seconds to pass every byte of the checkpoint through one small buffer, kept nowhere."""
    buffer = bytearray(CHUNK)
    started = time.perf_counter()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
    return time.perf_counter() - started


def load(folder: Path, touch: bool) -> float:
    """Seconds of ``mmkit.load``, imports not counted; ``touch`` also reads one weight of every page."""
    import transformers.models.llama.modeling_llama  # noqa: F401

    import mmkit

    mmkit.build(tiny(), fit={"text": ["ab"]})  # whatever is imported on first use is imported
    started = time.perf_counter()
    model = mmkit.load(folder)
    if touch:
        for parameter in model.parameters():
            float(parameter.view(-1)[:: PAGE // parameter.element_size()].sum())
    return time.perf_counter() - started


def tiny() -> dict[str, Any]:
    """The same architecture, small."""
    small = {"hidden_size": 36, "intermediate_size": 48, "num_hidden_layers": 1, "vocab_size": 300}
    config = {**SPEC["backbone"]["config"], **small}
    vocabulary = {"text": {"adapter": {"use": "characters"}}}
    return {**SPEC, "modalities": vocabulary, "backbone": {"use": "causal-lm", "config": config}}


MEASURES: dict[str, Callable[[Path], float]] = {
    "read": read_bytes,
    "read, kept nowhere": stream_bytes,
    "load": lambda folder: load(folder, touch=False),
    "load and use every page": lambda folder: load(folder, touch=True),
}


def drop(folder: Path) -> None:
    """Ask the system to forget the files' pages."""
    for path in folder.rglob("*"):
        if path.is_file():
            number = os.open(path, os.O_RDONLY)
            os.fsync(number)
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(number)


def measured(what: str, folder: Path, cold: bool) -> float:
    """One run in a process of its own."""
    if cold:
        drop(folder)
    else:
        read_bytes(folder)
    command = [sys.executable, "-m", "benchmarks.checkpoint_load", "--measure", what, str(folder)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, folder = options.measure[0], Path(options.measure[1])
        print(MEASURES[what](folder))
        return
    import mmkit

    with tempfile.TemporaryDirectory() as where:
        model = mmkit.build(SPEC, fit={"text": ["a text to learn pairs of bytes from"]})
        parameters = sum(parameter.numel() for parameter in model.parameters())
        folder = model.save(Path(where) / "model")
        del model
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        times: dict[str, dict[str, list[float]]] = {}
        for _ in range(options.runs):
            for state in ("cold", "warm"):
                for what in MEASURES:
                    one = measured(what, folder, state == "cold")
                    times.setdefault(state, {}).setdefault(what, []).append(one)
    medians = {state: {what: median(values) for what, values in by.items()} for state, by in times.items()}
    rows = [
        (state, what, f"{value:.3f}", f"{value / by['read']:.2f}")
        for state, by in medians.items()
        for what, value in by.items()
    ]
    title = f"{parameters:,} parameters, {size / 1e6:.0f} MB, medians of {options.runs} interleaved runs, each in a process."
    shown = table(("page cache", "what", "seconds", "of reading the bytes"), rows)
    report("checkpoint_load", f"{title}\n\n{shown}", {"bytes": size, "runs": options.runs, "seconds": times})


if __name__ == "__main__":
    main()
