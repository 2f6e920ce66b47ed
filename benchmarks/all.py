"""Every benchmark that needs no GPU, one after the other, each in a process of its own: ``python -m benchmarks.all``.

``--only NAME …`` runs some, ``--quick`` runs small ones to see that they work. Their JSON files are in ``benchmarks/results/``;
``python -m benchmarks.table`` then renews docs/performance.md.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Benchmark:
    """A module of this folder, its section in docs/performance.md and what it should reach."""

    module: str
    title: str
    goal: str
    quick: tuple[str, ...] = ("--quick",)
    arguments: tuple[str, ...] = ()

    @property
    def written(self) -> bool:
        """Whether the module is there."""
        return (Path(__file__).parent / f"{self.module}.py").is_file()


BENCHMARKS = (
    Benchmark(
        "startup",
        "Start-up",
        "`import mmkit` < 0.05 s over bare Python; `mmkit plugins` < 0.4 s; `mmkit check` ≤ 1.5 × `import torch`, its "
        "static half < 0.5 s without torch",
        ("--runs", "1"),
    ),
    Benchmark(
        "many_plugins",
        "200 installed plugins",
        "`mmkit plugins` ≤ 1.5 × the time with 4; `import mmkit` as fast",
        ("--runs", "1", "--plugins", "20"),
    ),
    Benchmark(
        "checkpoint_load",
        "Loading a checkpoint of 135 M parameters",
        "≤ 1.5 × the time to read its bytes",
        ("--runs", "1"),
    ),
    Benchmark(
        "reference_load",
        "Training on mixed lengths beside padded peers",
        "≥ 3 × pad-to-longest, ≥ 1.7 × grouped by length; ≥ 75 % of the matmul floor; bf16 ≥ 1.6 × float32",
    ),
    Benchmark("trainer_overhead", "The trainer's own time a step", "≤ 3 % over a bare loop", ("--steps", "6")),
    Benchmark(
        "generation", "Generation", "≥ 1.3 × transformers' `generate` at batch 1, ≥ 2 × at batch 8 of mixed lengths"
    ),
    Benchmark(
        "batched_codes",
        "Pictures written as codes",
        "a batch of 8 ≥ 4 × the throughput of 8 calls, the same pictures",
        ("--runs", "1"),
    ),
    Benchmark(
        "privacy",
        "Private training",
        "accuracy, and what a membership-inference attack finds, with and without differential privacy",
    ),
    Benchmark(
        "explanation",
        "Explanations",
        "what integrated gradients mark first is what the answer hangs on: deletion below and insertion above a random order",
    ),
    Benchmark(
        "serving",
        "Serving",
        "64 clients without an error or another's answer at ≥ 3 × the throughput of one; p99 ≤ 4 × p50 at half that load",
    ),
    Benchmark("ready", "A server that is ready", "< 10 s after kill −9, ≤ 1.5 × importing torch and reading the bytes"),
    Benchmark(
        "loss_memory", "Memory of the loss", "≤ 1.2 × from vocabulary 16k to 128k, the weight's own gradient left out"
    ),
    Benchmark(
        "feature_cache",
        "Features of frozen encoders from the cache",
        "≥ 5 ×, from the second epoch on",
        ("--runs", "1", "--images", "32", "--towers", "efficientnet_lite0"),
    ),
    Benchmark(
        "preparation",
        "Preparing pictures and sound",
        "≥ 2 × transformers' processors",
        ("--runs", "3", "--calls", "2"),
    ),
    Benchmark("mixed_clips", "A Conformer over clips of mixed lengths", "no slower than torchaudio's", ("--runs", "3")),
    Benchmark("data_loading", "Loading data", "no slower than a plain `DataLoader`", ("--runs", "1")),
    Benchmark(
        "streaming_memory",
        "Memory of a streamed source",
        "flat from 10 thousand to 10 million rows",
        ("--rows", "20000"),
    ),
    Benchmark("two_processes", "Two processes beside one", "≥ 0.9 × the throughput, equal losses"),
    Benchmark(
        "new_plugin",
        "A new plugin",
        "< 60 s from `mmkit new plugin` to a passing conformance run",
        ("--kinds", "encoder"),
    ),
    Benchmark("keras_lstm", "The classic Keras program", "equal accuracy", ("--seeds", "0", "--epochs", "1")),
)


def main() -> None:
    """Run them; the exit status says whether all of them ended well."""
    parser = argparse.ArgumentParser()
    names = [benchmark.module for benchmark in BENCHMARKS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    failed = []
    for benchmark in BENCHMARKS:
        if benchmark.module not in options.only or not benchmark.written:
            continue
        arguments = benchmark.quick if options.quick else benchmark.arguments
        print(f"\n== {benchmark.module} {' '.join(arguments)}", flush=True)
        started = time.monotonic()
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{benchmark.module}", *arguments], check=False)
        print(f"-- {time.monotonic() - started:.0f} s", flush=True)
        if done.returncode:
            failed.append(benchmark.module)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
