"""Peak memory of the loss, forward and backward, as the vocabulary grows: mmkit's in chunks, and plain logits.

``python -m benchmarks.loss_memory`` prints a table and writes ``benchmarks/results/loss_memory.json``. Each point runs in a
process of its own, after a small one that loads what torch loads on first use. The figure is the most that the process held
over what it held before (``VmHWM``, so Linux only): hidden states and the weight are in neither. The weight's gradient, which
any training has, is in both and shown apart.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.common import report, table
from mmkit import Backbone, Ragged, Scores

WIDTH, MIB = 384, 2**20
SIZES = [16_384, 32_768, 65_536, 131_072]
WAYS, KINDS = ("plain logits", "mmkit"), ("float32", "bfloat16")


class Output(Backbone):
    """Nothing but an output layer."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.token_dim = self.hidden_dim = WIDTH
        self.layer = nn.Linear(WIDTH, size, bias=False)

    def embed(self, ids: Tensor) -> Tensor:
        """The layer's rows."""
        return self.layer.weight[ids]

    def forward(self, prompt: Ragged, target: Ragged | None = None) -> Ragged:
        """As given."""
        return prompt

    def logits(self, hidden: Tensor) -> Tensor:
        """The layer."""
        return self.layer(hidden)

    def output_layer(self) -> tuple[Tensor, Tensor | None]:
        """The layer, without bias."""
        return self.layer.weight, None


def resident(what: str) -> int:
    """Bytes of this process: ``VmRSS``, now, or ``VmHWM``, the most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) * 1024


def learn(way: str, kind: str, size: int, targets: int) -> tuple[int, float]:
    """Bytes held at most over those before, and the mean loss."""
    torch.manual_seed(0)
    hidden, output = torch.randn(targets, WIDTH, requires_grad=True), Output(size)
    ids, lengths = torch.randint(size, (targets,)), torch.tensor([targets])
    Path("/proc/self/clear_refs").write_text("5")  # the most so far is what is held now
    before = resident("VmRSS")
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bfloat16"):
        if way == "mmkit":
            loss = Scores(hidden, lengths, output, 0, size).cross_entropy(Ragged(ids, lengths))
        else:
            loss = functional.cross_entropy(output.logits(hidden).float(), ids, reduction="sum")
    loss.backward()
    return resident("VmHWM") - before, float(loss.detach()) / targets


def measured(way: str, kind: str, size: int, targets: int) -> tuple[int, float]:
    """One point in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.loss_memory", "--measure", way, kind, str(size), str(targets)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    held, loss = json.loads(done.stdout)
    return int(held), float(loss)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--targets", type=int, default=1024, help="target positions of the batch")
    parser.add_argument("--quick", action="store_true", help="one run of two sizes")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        way, kind, size, targets = options.measure
        learn(way, kind, 512, 64)
        print(json.dumps(learn(way, kind, int(size), int(targets))))
        return
    targets, (runs, sizes) = options.targets, (1, SIZES[:2]) if options.quick else (options.runs, SIZES)
    held: dict[str, list[int]] = {}
    for _ in range(runs):
        for kind in KINDS:
            for size in sizes:
                losses = []
                for way in WAYS:
                    most, loss = measured(way, kind, size, targets)
                    held.setdefault(f"{way}, {kind}, {size}", []).append(most)
                    losses.append(loss)
                if abs(losses[0] - losses[1]) > (1e-4 if kind == "float32" else 1e-2) * losses[0]:
                    raise SystemExit(f"the losses differ: {losses}")
    shown = table(("in", "loss", *(f"vocabulary {size // 1024}k" for size in sizes), "growth"), rows_of(held, sizes))
    title = f"MiB over what was held before; {targets} targets of width {WIDTH}, medians of {runs} processes."
    report("loss_memory", f"{title}\n\n{shown}", {"targets": targets, "runs": runs, "bytes": held})


def rows_of(held: dict[str, list[int]], sizes: list[int]) -> list[list[str]]:
    """Lines of the table: without the weight's gradient and with it, and the gradient itself."""
    gradients = [size * WIDTH * 4 for size in sizes]
    rows = []
    for kind in KINDS:
        for way in WAYS:
            most = [median(held[f"{way}, {kind}, {size}"]) for size in sizes]
            rest = [a - b for a, b in zip(most, gradients, strict=True)]
            rows.append([kind, f"{way}, the weight's gradient left out", *cells(rest)])
            rows.append([kind, f"{way}, all", *cells(most)])
    return [*rows, ["", "the weight's gradient", *cells([float(value) for value in gradients])]]


def cells(values: list[float]) -> list[str]:
    """MiB at every size, and the last over the first."""
    return [*(f"{value / MIB:.0f}" for value in values), f"{values[-1] / values[0]:.2f} ×"]


if __name__ == "__main__":
    main()
