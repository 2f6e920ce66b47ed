"""Training on mixed lengths, by mmkit and by transformers' ``Trainer``: useful tokens a second, and of what can be had.

``python -m benchmarks.reference_load`` prints tables and writes ``benchmarks/results/reference_load.json``. The load: a Llama of 25
million parameters (8 layers, width 384, vocabulary 16k), texts of log-normal length (16 to 512, median 90), 0 to 2 pictures of 49
tokens, batches of 8; then shorter and longer texts and other vocabularies, then pictures through a real vision tower (the peer
there is ``LlavaForConditionalGeneration``, else its language model with the same features). mmkit trains by ``mmkit.train``, the peer
by ``Trainer``, padded to the longest, and grouped by length. Runs are interleaved; the first two steps of each are not timed.
The floor is 6 FLOP a parameter and token at the rate of a product measured between the runs.
"""

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers.utils import logging

import mmkit
from benchmarks import reference_peer, reference_plugin
from benchmarks.common import RESULTS, report, table
from benchmarks.reference_data import BATCH, Load, product

WARM = 2  # steps that are not timed: in them memory is allocated and blocks are compiled
SYSTEMS = ("mmkit", "mmkit compiled", "mmkit bf16", "padded", "grouped")
VARIANTS: dict[str, dict[str, Any]] = {
    "reference load": {},
    "200 rows": {"count": 200},  # the sampler that groups by length finds fewer alike
    "median length 45": {"median": 45},
    "median length 180": {"median": 180},
    "vocabulary 4k": {"vocabulary": 4096},
    "vocabulary 64k": {"vocabulary": 65_536},
    "a real encoder": {"encoder": True},
}
Clock = Callable[[], float]


class Run:
    """One training of some steps: their times, useful tokens and places."""

    def __init__(self, load: Load, system: str, steps: int, clock: Clock) -> None:
        self.clock = clock
        self.times: list[float] = []
        self.sizes: list[tuple[int, int]] = []
        with tempfile.TemporaryDirectory() as name:
            if system.startswith("mmkit"):
                self._mmkit(load, system.removeprefix("mmkit").split(), steps, Path(name))
            else:
                self.sizes = reference_peer.train(load, system == "grouped", steps, Path(name), self.tick)
        gc.collect()

    def tick(self) -> None:
        """A step is done."""
        self.times.append(self.clock())

    def _mmkit(self, load: Load, options: list[str], steps: int, folder: Path) -> None:
        train: dict[str, Any] = {"precision": "bf16"} if "bf16" in options else {}
        train |= {"compile": True} if "compiled" in options else {}

        def step(stage: str, at: int, of: int, figures: dict[str, float]) -> None:
            if "loss" in figures:
                tokens = round(figures["tokens_per_second"] / figures["samples_per_second"] * BATCH)
                self.sizes.append((tokens, tokens))
            elif not figures:
                self.tick()

        mmkit.train(load.spec(steps, **train), output=folder / "model", say=lambda line: None, step=step)

    def rate(self) -> float:
        """Useful tokens a second."""
        return sum(tokens for tokens, _ in self.sizes[WARM:]) / (self.times[-1] - self.times[WARM - 1])

    def real(self) -> float:
        """Share of the places that are no padding."""
        return sum(tokens for tokens, _ in self.sizes) / sum(places for _, places in self.sizes)


def products(clock: Clock, calls: int = 60) -> float:
    """FLOP/s of products, the median."""
    call, flop = product()
    times = []
    for _ in range(calls):
        started = clock()
        for _ in range(4):
            call()
        times.append((clock() - started) / 4)
    return flop / median(times)


def measure(load: Load, systems: tuple[str, ...], runs: int, steps: int, clock: Clock) -> dict[str, Any]:
    """Interleaved runs of every system."""
    load.write()
    rates: dict[str, list[float]] = {system: [] for system in systems}
    real: dict[str, float] = {}
    flops: list[float] = []
    for _ in range(runs):
        for system in systems:
            flops.append(products(clock))
            done = Run(load, system, steps + WARM, clock)
            rates[system].append(done.rate())
            real[system] = done.real()
    return {"rates": rates, "real": real, "product_flops": flops, "flop_a_token": load.flop()}


def row(name: str, system: str, found: dict[str, Any]) -> tuple[str, ...]:
    """One line: tokens a second, times the peers, shares of the floor."""
    rates = {one: median(values) for one, values in found["rates"].items()}
    rate = rates[system]
    beside = [f"{rate / rates[peer]:.2f} ×" if peer in rates else "" for peer in ("padded", "grouped")]
    shares = ["", ""]
    if "bf16" not in system:
        shares = [f"{rate * flop / median(found['product_flops']):.0%}" for flop in found["flop_a_token"]]
    return (name, system, f"{1 - found['real'][system]:.0%}", f"{rate:,.0f}", *beside, *shares)


def options() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="timed steps a run")
    parser.add_argument("--quick", action="store_true", help="one run of two steps")
    parser.add_argument("--encoder", action="store_true", help="only the load with a real encoder")
    parser.add_argument("--only", choices=VARIANTS, nargs="+", help="these loads")
    parser.add_argument("--systems", choices=SYSTEMS, nargs="+", default=SYSTEMS)
    parser.add_argument("--processor-time", action="store_true", help="not wall time, where others use the machine")
    given = parser.parse_args()
    if given.quick:
        given.runs, given.steps = 1, 2
    chosen = ["a real encoder"] if given.encoder else list(VARIANTS)
    given.only = given.only or (["reference load", "a real encoder"] if given.quick and not given.encoder else chosen)
    return given


def main() -> None:
    """Measure."""
    given = options()
    logging.set_verbosity_error()
    clock = time.process_time if given.processor_time else time.perf_counter
    figures = earlier()
    with tempfile.TemporaryDirectory() as name:
        reference_plugin.install(Path(name))
        sys.path.insert(0, name)
        for variant in given.only:
            load = Load(Path(name), **VARIANTS[variant])
            figures[variant] = measure(load, given.systems, given.runs, given.steps, clock)
            show(figures, given)  # a measurement that is stopped keeps what it has


def earlier() -> dict[str, Any]:
    """Loads that were measured before: ``--only`` adds to them, and measures its own anew."""
    path = RESULTS / "reference_load.json"
    return dict(json.loads(path.read_text())["loads"]) if path.is_file() else {}


def show(figures: dict[str, Any], given: argparse.Namespace) -> None:
    """The table of what was measured so far."""
    found = {name: figures[name] for name in VARIANTS if name in figures}
    rows = [row(name, system, one) for name, one in found.items() for system in SYSTEMS if system in one["rates"]]
    head = ("load", "who", "padding", "useful tokens/s", "of padded", "of grouped", "of the floor", "of what is needed")
    rates = [rate for one in found.values() for rate in one["product_flops"]]
    said = f"Medians of {given.runs} interleaved runs of {given.steps} steps, {torch.get_num_threads()} threads; "
    said += f"products run at {median(rates) / 1e9:.0f} GFLOP/s in float32."
    report("reference_load", f"{said}\n\n{table(head, rows)}", {**vars(given), "loads": found})


if __name__ == "__main__":
    main()
