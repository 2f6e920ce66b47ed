"""Numbers while training runs: losses, useful tokens and samples a second, waiting, memory, model FLOPs, time left."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from mmkit.model.batch import PackedBatch
from mmkit.training.hardware import peak_flops, peak_memory


def count_tokens(batch: PackedBatch, autoregressive: Sequence[str]) -> int:
    """Useful tokens of a batch: those of the streams, and the target ids that are read back; there is no padding."""
    targets = sum(sum(batch.targets[task].sizes) for task in autoregressive if task in batch.targets)
    return int(batch.stream_lengths.sum()) + targets


@dataclass
class Meter:
    """Collects between two log lines.

    Args:
        steps: optimizer steps of the stage. parameters: of the whole model, for the FLOPs. devices: that share the work.
    """

    steps: int
    parameters: int
    autoregressive: Sequence[str]
    device: torch.device
    precision: str
    devices: int = 1
    loss: float = 0.0
    taken: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    samples: int = 0
    waited: float = 0.0
    since: float = field(default_factory=time.monotonic)
    began: float = field(default_factory=time.monotonic)
    done: int = 0

    def start(self) -> None:
        """The first step begins now; what came before is not the training's time."""
        self.since = self.began = time.monotonic()
        self.waited = 0.0

    def pause(self, seconds: float) -> None:
        """Leave out time that was no training: an evaluation, a checkpoint."""
        self.since += seconds
        self.began += seconds

    def count(self, batches: Sequence[PackedBatch]) -> tuple[int, int]:
        """Samples and tokens of some batches."""
        tokens = sum(count_tokens(batch, self.autoregressive) for batch in batches)
        return sum(len(batch.tasks) for batch in batches), tokens

    def fetched(self, samples: int, tokens: int, seconds: float) -> None:
        """The batches of one step have come, after this much waiting."""
        self.waited += seconds
        self.samples += samples
        self.tokens += tokens

    def stepped(self, loss: float, sums: Mapping[str, float], counts: Mapping[str, int]) -> None:
        """One optimizer step: its loss, and per task the summed loss and the targets."""
        self.loss += loss
        self.taken += 1
        self.done += 1
        for task, value in sums.items():
            self.sums[task] = self.sums.get(task, 0.0) + value
        self.counts.update(counts)

    def report(self, at: int) -> dict[str, float]:
        """The figures since the last report, at this step."""
        now = time.monotonic()
        seconds = max(1e-9, now - self.since)
        figures = {"loss": self.loss / max(1, self.taken)}
        figures |= {f"loss_{task}": self.sums[task] / max(1, self.counts[task]) for task in self.sums}
        figures |= {
            "tokens_per_second": self.tokens / seconds,
            "samples_per_second": self.samples / seconds,
            "data_wait": min(1.0, self.waited / seconds),
            "memory_gb": peak_memory(self.device) / 1e9,
            "seconds_left": (self.steps - at) * (now - self.began) / max(1, self.done),
        }
        peak = peak_flops(self.device, self.precision)
        if peak:
            figures["mfu"] = 6 * self.parameters * self.tokens / seconds / (peak * self.devices)
        self.loss, self.taken, self.tokens, self.samples, self.waited, self.since = 0.0, 0, 0, 0, 0.0, now
        self.sums.clear()
        self.counts.clear()
        return figures

    def state_dict(self) -> dict[str, Any]:
        """What the next report's losses need."""
        return {"loss": self.loss, "taken": self.taken, "sums": dict(self.sums), "counts": dict(self.counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on collecting."""
        self.loss, self.taken = state["loss"], state["taken"]
        self.sums, self.counts = dict(state["sums"]), Counter(state["counts"])


def line(stage: str, at: int, of: int, figures: Mapping[str, float]) -> str:
    """A log line."""
    tasks = [f"{name.removeprefix('loss_')} {value:.3f}" for name, value in figures.items() if name.startswith("loss_")]
    parts = [f"stage {stage}  step {at}/{of}  loss {figures['loss']:.3f}", *(tasks if len(tasks) > 1 else [])]
    parts.append(f"{figures['tokens_per_second']:,.0f} tokens/s")
    parts.append(f"{figures['samples_per_second']:,.1f} samples/s")
    parts.append(f"data wait {figures['data_wait']:.0%}")
    parts.append(f"memory {figures['memory_gb']:.2f} GB")
    if "mfu" in figures:
        parts.append(f"MFU {figures['mfu']:.1%}")
    parts.append(f"left {_clock(figures['seconds_left'])}")
    return "  ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
