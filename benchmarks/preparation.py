"""Preparing media beside transformers' processors: a JPEG of 640 × 480 → tensor of 224 × 224, and log-mel of 30 s.

``python -m benchmarks.preparation`` prints a table and writes ``benchmarks/results/preparation.json``: medians of interleaved
runs, each the mean of several calls, in seconds of processor time on one thread (the wall clock of a shared machine says
more about its other users). Everyone starts from the bytes of the file, and from the samples of the wave.
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
import numpy as np
import torch
from mmkit_audio.mel import LogMel
from mmkit_image.processor import ImageProcessor
from PIL import Image
from transformers import CLIPImageProcessor, WhisperFeatureExtractor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from benchmarks.common import report, table
from mmkit import Ragged

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def photo(quality: int) -> bytes:
    """A photograph that matplotlib ships, as a JPEG of 640 × 480."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    file = io.BytesIO()
    picture = Image.open(path).convert("RGB").resize((640, 480), Image.Resampling.LANCZOS)
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def pictures() -> dict[str, Callable[[], Any]]:
    """Whoever turns the bytes of a JPEG into a normalised square."""
    data = photo(90)
    torchvision, pillow = CLIPImageProcessor(), CLIPImageProcessorPil()
    exact = ImageProcessor(224, MEAN, STD, "crop")
    fast = ImageProcessor(224, MEAN, STD, "crop", fast_decode=True)
    opened = lambda: Image.open(io.BytesIO(data))  # noqa: E731
    return {
        "CLIPImageProcessor (torchvision)": lambda: torchvision(images=[opened()], return_tensors="pt"),
        "CLIPImageProcessorPil": lambda: pillow(images=[opened()], return_tensors="pt"),
        "mmkit": lambda: exact(data),
        "mmkit, fast_decode": lambda: fast(data),
        "decoding alone (Pillow)": lambda: opened().load(),
    }


def waves() -> dict[str, Callable[[], Any]]:
    """Whoever turns 30 s at 16 kHz into 80 bands of log-mel."""
    wave = (np.random.default_rng(0).normal(size=16_000 * 30) * 0.1).astype(np.float32)
    peer, ours = WhisperFeatureExtractor(), LogMel(16_000, 80, 400, 160)
    packed = Ragged(torch.from_numpy(wave), torch.tensor([len(wave)]))
    return {
        "WhisperFeatureExtractor": lambda: peer(wave, sampling_rate=16_000, return_tensors="pt"),
        "mmkit": lambda: ours(packed),
    }


def measured(contenders: dict[str, Callable[[], Any]], runs: int, calls: int) -> dict[str, list[float]]:
    """Seconds of processor time a call, ``runs`` times each, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        call()
    for _ in range(runs):
        for name, call in contenders.items():
            started = time.process_time()
            for _ in range(calls):
                call()
            times[name].append((time.process_time() - started) / calls)
    return times


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--calls", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures, rows = {}, []
    for what, contenders in (("JPEG 640 × 480 → 224 × 224", pictures()), ("log-mel of 30 s", waves())):
        figures[what] = measured(contenders, options.runs, options.calls)
        medians = {name: median(values) for name, values in figures[what].items()}
        peers = [name for name in medians if "Processor" in name or "Extractor" in name]
        for name, value in medians.items():
            times = [f"{medians[peer] / value:.2f} ×" if name not in peers else "" for peer in peers]
            rows.append((what, name, f"{value * 1e3:.2f}", *times, *[""] * (2 - len(times))))
    shown = table(("what", "who", "milliseconds", "faster than the first", "than the second"), rows)
    report("preparation", shown, {"runs": options.runs, "calls": options.calls, "processor_seconds": figures})


if __name__ == "__main__":
    main()
