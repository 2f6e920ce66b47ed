"""The trainer's own time per step, over a bare loop of the same model on the same batches.

``python -m benchmarks.trainer_overhead`` prints a table and writes ``benchmarks/results/trainer_overhead.json``.

One process trains two copies of a Llama of 25 million parameters (8 layers, width 384, vocabulary 16k): one by
``mmkit.train``, as a user would, with its logs and TensorBoard; the other by a plain loop: loader, forward, backward,
clipping, fused AdamW, schedule. Their steps alternate, so both see the same machine; figures are medians over the steps.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import get_scheduler

import mmkit
from benchmarks.common import LLAMA, report, table
from mmkit.data.loading import loader, open_all
from mmkit.spec.schema import Stage

ROWS = 16_384


def make_spec(folder: Path, steps: int) -> dict[str, Any]:
    """Texts of log-normal length (16 to 512 words, median 90); the first words are the prompt."""
    draw = random.Random(0)
    words = [f"w{index}" for index in range(ROWS - 16)]
    rows = []
    for _ in range(400):
        length = min(512, max(16, round(draw.lognormvariate(4.5, 0.8))))
        text = draw.choices(words, k=length)
        rows.append({"text": " ".join(text[: length // 4]), "target": " ".join(text[length // 4 :])})
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "words.jsonl").write_text("".join(json.dumps({"text": w, "target": w}) + "\n" for w in words))
    return {
        "mmkit": 1,
        "modalities": {"text": {"adapter": {"use": "words", "vocab_size": ROWS}}},
        "backbone": {"use": "causal-lm", "config": LLAMA},
        "tasks": {"go_on": {"input": "{text}", "output": "{target}", "head": "generate"}},
        "data": {
            "train": [
                {"task": "go_on", "path": str(path)},
                {"task": "go_on", "path": str(folder / "words.jsonl"), "weight": 1e-9},  # so that every word has a row
            ]
        },
        "train": {"stages": [{"name": "all", "steps": steps, "batch_size": 8, "lr": 3e-4}], "save_every": None},
    }


@dataclass
class Bare:
    """What one would write by hand, over the same loader."""

    spec: dict[str, Any]
    steps: int

    def __post_init__(self) -> None:
        self.model = mmkit.build(self.spec, fit={"text": (f"w{index}" for index in range(ROWS - 16))})
        stage = Stage(**self.spec["train"]["stages"][0])
        sources = open_all(self.model.plan, "train")
        options: dict[str, Any] = {"total_samples": None, "seed": 0, "stage_index": 0}
        self.batches = iter(loader(self.model, sources, stage, **options))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4, weight_decay=0.01, fused=True)
        self.schedule = get_scheduler("cosine", self.optimizer, int(0.05 * self.steps), self.steps)
        self.model.train()

    def step(self) -> float:
        """One step; its loss."""
        batch = next(self.batches)
        loss = self.model(batch)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return float(loss.detach())


@dataclass
class Pairs:
    """Alternates: whenever the trainer has done a step, the bare loop does one."""

    bare: Bare
    clock: Callable[[], tuple[float, float]] = lambda: (time.perf_counter(), time.process_time())
    trainer_times: list[tuple[float, float]] = field(default_factory=list)
    bare_times: list[tuple[float, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    since: tuple[float, float] | None = None

    def __call__(self, stage: str, at: int, of: int, figures: dict[str, float]) -> None:
        """The trainer's callback; lines of its log count as its time."""
        if figures:
            return
        now = self.clock()
        if self.since is not None:
            self.trainer_times.append((now[0] - self.since[0], now[1] - self.since[1]))
        started = self.clock()
        self.losses.append(self.bare.step())
        ended = self.clock()
        if self.since is not None:
            self.bare_times.append((ended[0] - started[0], ended[1] - started[1]))
        self.since = self.clock()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=41, help="the first is left out")
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory() as name:
        spec = make_spec(Path(name), steps)
        pairs = Pairs(Bare(spec, steps))
        mmkit.train(spec, output=Path(name) / "model", say=lambda line: None, step=pairs)
    rows, figures = [], {}
    for index, clock in enumerate(("wall", "CPU")):
        ours, bare = ([times[index] for times in side] for side in (pairs.trainer_times, pairs.bare_times))
        figures[clock] = {
            "trainer_seconds": median(ours),
            "bare_seconds": median(bare),
            "overhead": median(a / b for a, b in zip(ours, bare, strict=True)) - 1,
        }
        seconds = (f"{median(bare):.3f}", f"{median(ours):.3f}")
        rows.append((f"{clock} time", *seconds, f"{figures[clock]['overhead']:+.1%}"))
    parameters = sum(parameter.numel() for parameter in pairs.bare.model.parameters())
    head = (f"{parameters / 1e6:.1f} M parameters, {len(ours)} steps", "bare loop, s", "trainer, s", "more")
    made = {"parameters": parameters, "steps": steps, "threads": torch.get_num_threads()}
    report("trainer_overhead", table(head, rows), {**made, **figures})


if __name__ == "__main__":
    main()
