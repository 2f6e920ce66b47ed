"""Peak memory of a streamed source of 10 thousand and of 10 million rows, and the time to go back to a position in it.

``python -m benchmarks.streaming_memory`` writes JSONL and Parquet files into a temporary folder, streams each through the
whole loader (shuffled, prepared, packed by a token budget) in a process of its own, prints a table and writes
``benchmarks/results/streaming_memory.json``. 10 million rows take a quarter of an hour a format; ``--rows`` gives fewer.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import report, table

SMALL = 10_000
WORDS = ["a", "bright", "film", "about", "nothing", "that", "never", "ends", "in", "rain"]


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Texts of 3 to 12 words; no two rows are equal."""
    for index in range(count):
        words = [WORDS[(index * 7 + k * k) % len(WORDS)] for k in range(3 + index % 10)]
        yield {"text": f"{index} " + " ".join(words), "label": "pos" if index % 3 else "neg"}


def make(path: Path, count: int) -> Path:
    """A file of so many rows; Parquet in the row groups that pyarrow makes by default."""
    if path.suffix == ".jsonl":
        with path.open("w") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows(count))
        return path
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema({"text": pa.string(), "label": pa.string()})
    group = 2**20
    with pq.ParquetWriter(path, schema) as writer:
        given = rows(count)
        for start in range(0, count, group):
            batch = [next(given) for _ in range(min(group, count - start))]
            writer.write_table(pa.Table.from_pylist(batch, schema))
    return path


def peak_mebibytes() -> float:
    """Largest resident memory of this process; ``ru_maxrss`` would also count the parent's, which writes the files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def spec(path: Path) -> dict[str, Any]:
    """Text → label."""
    head = {"use": "classify", "labels": ["neg", "pos"]}
    return {
        "mmkit": 1,
        "modalities": {"text": {"adapter": {"use": "words", "vocab_size": 50}}},
        "backbone": {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8},
        "tasks": {"mood": {"input": "{text}", "output": "{label}", "head": head}},
        "data": {"train": [{"task": "mood", "path": str(path), "streaming": True}]},
    }


def measure(path: Path, count: int) -> dict[str, float]:
    """Stream ``count`` rows; then go on from the position near the end in a new loader."""
    import mmkit
    from mmkit.data.loading import loader, open_all
    from mmkit.spec.schema import Stage

    model = mmkit.build(spec(path), fit={"text": [" ".join(WORDS)]})
    sources = open_all(model.plan, "train")
    stage = Stage(name="a", steps=1, tokens_per_batch=4096)
    running = loader(model, sources, stage, seed=0)
    started, seen = time.perf_counter(), 0
    for batch in running:
        seen += len(batch.tasks)
        if seen >= count - 2000:
            break
    seconds = time.perf_counter() - started
    peak = peak_mebibytes()
    state = json.loads(json.dumps(running.state_dict()))
    again = loader(model, sources, stage, seed=0)
    again.load_state_dict(state)
    started = time.perf_counter()
    next(iter(again))
    return {
        "rows": seen,
        "seconds": seconds,
        "peak MiB": peak,
        "resume seconds": time.perf_counter() - started,
        "state bytes": len(json.dumps(state)),
    }


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--only", choices=["jsonl", "parquet"])
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(Path(options.measure[0]), int(options.measure[1]))))
        return
    figures: dict[str, dict[str, float]] = {}
    formats = [options.only] if options.only else ["jsonl", "parquet"]
    for suffix in formats:
        for count in (SMALL, options.rows):
            with tempfile.TemporaryDirectory() as folder:
                path = make(Path(folder) / f"rows.{suffix}", count)
                command = [sys.executable, "-m", "benchmarks.streaming_memory", "--measure", str(path), str(count)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
            figures[f"{suffix} {count:,}"] = json.loads(done.stdout.splitlines()[-1])
            print(f"{suffix} {count:,} rows: {figures[f'{suffix} {count:,}']}", flush=True)
    lines = []
    for suffix in formats:
        small, large = figures[f"{suffix} {SMALL:,}"], figures[f"{suffix} {options.rows:,}"]
        for name, one in ((f"{SMALL:,}", small), (f"{options.rows:,}", large)):
            speed = one["rows"] / one["seconds"]
            cells = (f"{one['peak MiB']:.0f}", f"{one['peak MiB'] / small['peak MiB']:.2f}", f"{speed:,.0f}")
            lines.append((suffix, name, *cells, f"{one['resume seconds']:.2f}", f"{one['state bytes']:,.0f}"))
    shown = table(("file", "rows", "peak MiB", "of the small", "rows/s", "seconds to resume", "state bytes"), lines)
    report("streaming_memory", shown, {"figures": figures})


if __name__ == "__main__":
    main()
