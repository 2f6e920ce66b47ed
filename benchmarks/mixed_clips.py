"""The Conformer over clips of mixed lengths laid end to end, beside torchaudio's, which pads them to the longest.

``python -m benchmarks.mixed_clips`` prints a table and writes ``benchmarks/results/mixed_clips.json``: medians of interleaved
runs of one forward and backward pass over 16 clips, in seconds of processor time on one thread. Both have the same layers,
weights and rows; the peer's batch is padded beforehand, which is not counted.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
import torchaudio
from mmkit_audio.packed_conformer import Layout, PackedConformerLayer
from torch import Tensor

from benchmarks.common import report, table
from mmkit import Ragged

DIM, LAYERS, KERNEL, ROWS_A_SECOND = 144, 4, 15, 25


def lengths(kind: str) -> Tensor:
    """Rows of 16 clips: log-normal between half a second and 15 seconds, or 4 seconds each."""
    seconds = (
        np.clip(np.exp(np.random.default_rng(0).normal(1.3, 0.8, 16)), 0.5, 15) if kind == "mixed" else np.full(16, 4)
    )
    return torch.from_numpy((seconds * ROWS_A_SECOND).astype(np.int64))


def passes(sizes: Tensor) -> dict[str, Callable[[], None]]:
    """A training pass of both."""
    torch.manual_seed(0)
    padded = torchaudio.models.Conformer(DIM, 4, 4 * DIM, LAYERS, KERNEL)
    layers = [PackedConformerLayer(layer) for layer in padded.conformer_layers]
    rows = Ragged(torch.randn(int(sizes.sum()), DIM), sizes)
    batch = rows.to_padded()[0]

    def peer() -> None:
        padded(batch, sizes)[0].square().mean().backward()

    def packed() -> None:
        hidden, layout = rows.values, Layout.of(sizes, layers[0].reach, rows.device)
        for layer in layers:
            hidden = layer(hidden, layout)
        hidden.square().mean().backward()

    return {"torchaudio, padded": peer, "mmkit, end to end": packed}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    torch.set_num_threads(1)
    figures, rows = {}, []
    for kind in ("mixed", "equal"):
        sizes = lengths(kind)
        who = passes(sizes)
        times: dict[str, list[float]] = {name: [] for name in who}
        for call in who.values():
            call()
        for _ in range(runs):
            for name, call in who.items():
                started = time.process_time()
                call()
                times[name].append(time.process_time() - started)
        figures[kind] = times
        medians = {name: median(values) for name, values in times.items()}
        real = float(sizes.sum() / (sizes.max() * len(sizes)))
        for name, value in medians.items():
            ratio = f"{medians['torchaudio, padded'] / value:.2f} ×"
            rows.append((kind, f"{real:.0%}", name, f"{value * 1e3:.0f}", ratio))
    shown = table(("clips", "real rows of the padded", "who", "milliseconds", "faster"), rows)
    report("mixed_clips", shown, {"runs": runs, "processor_seconds": figures})


if __name__ == "__main__":
    main()
