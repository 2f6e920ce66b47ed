"""Two processes (gloo, ddp, one thread each) against one process with two threads, on the same batches.

``python -m benchmarks.two_processes`` prints a table and writes ``benchmarks/results/two_processes.json``; ``--quick`` takes a
small model. Run it on two quiet cores.

A Llama of 25 million parameters (that of ``trainer_overhead``) is trained by ``mmkit.train`` in both ways at once: their
steps alternate, while the other waits at a pipe, so both see the same machine. A step has the same eight samples in both.
Figures are medians over the steps; the clock is that of the process that lets them go.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import report, table

SMALL = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2}


def child(folder: Path) -> None:
    """Train; after every step say so and wait to be let go on."""
    import torch

    import mmkit

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    losses: list[float] = []

    def step(stage: str, at: int, of: int, figures: dict[str, float]) -> None:
        if "loss" in figures:
            losses.append(figures["loss"])
        elif not figures:
            print("done", flush=True)
            sys.stdin.readline()

    mmkit.train(folder / "spec.json", output=folder / "model", say=lambda line: None, step=step)
    print(json.dumps(losses), flush=True)


@dataclass
class Way:
    """The processes of one of the two ways."""

    processes: list[subprocess.Popen[str]]

    @classmethod
    def start(cls, folder: Path, world: int, threads: int) -> "Way":
        """So many processes; a single one knows of no others."""
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        processes = []
        for rank in range(world):
            ranked = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
            ranked |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": str(threads)}
            command = [sys.executable, "-m", "benchmarks.two_processes", "--child", str(folder)]
            pipe = subprocess.PIPE
            processes.append(
                subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env={**os.environ, **ranked})
            )
        return cls(processes)

    def lines(self) -> list[str]:
        """The next line of each."""
        return [process.stdout.readline() for process in self.processes if process.stdout]

    def step(self) -> float:
        """Let them do a step; its seconds."""
        began = time.perf_counter()
        for process in self.processes:
            if process.stdin:
                process.stdin.write("go\n")
                process.stdin.flush()
        said = self.lines()
        took = time.perf_counter() - began
        if set(said) != {"done\n"}:
            raise RuntimeError(f"a process ended before its last step: {said}")
        return took

    def finish(self) -> list[float]:
        """The losses."""
        for process in self.processes:
            if process.stdin:
                process.stdin.close()
        said = self.lines()
        for process in self.processes:
            process.wait()
        losses: list[float] = json.loads(said[0])
        return losses


def specs(folder: Path, steps: int, quick: bool) -> list[Path]:
    """A folder for each way, with its spec."""
    from benchmarks.trainer_overhead import make_spec

    spec: dict[str, Any] = make_spec(folder, steps)
    spec["train"] |= {"log_every": 1, "trackers": []}
    if quick:
        spec["backbone"]["config"] = {**spec["backbone"]["config"], **SMALL, "num_key_value_heads": 2}
    folders = [folder / name for name in ("one", "two")]
    for made in folders:
        made.mkdir()
        (made / "spec.json").write_text(json.dumps(spec))
    return folders


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=21, help="the first two are left out")
    parser.add_argument("--quick", action="store_true", help="a small model, few steps")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child)
        return
    steps = 6 if given.quick else given.steps
    with tempfile.TemporaryDirectory() as name:
        first, second = specs(Path(name), steps, given.quick)
        one, two = Way.start(first, 1, threads=2), Way.start(second, 2, threads=1)
        one.lines(), two.lines()
        times = [(one.step(), two.step()) for _ in range(steps - 1)][1:]
        losses = list(zip(one.finish(), two.finish(), strict=True))
    ratio = median(a / b for a, b in times)
    apart = max(abs(a - b) / abs(a) for a, b in losses)
    seconds = [median(column) for column in zip(*times, strict=True)]
    rows = [
        ("one process, two threads", f"{seconds[0]:.3f}", ""),
        ("two processes, one thread each", f"{seconds[1]:.3f}", f"{ratio:.2f} ×"),
    ]
    shown = table((f"{len(times)} steps", "seconds a step", "throughput"), rows)
    figures = {"seconds": seconds, "throughput": ratio, "steps": len(times), "loss_difference": apart}
    report(
        "two_processes",
        f"{shown}\n\nLosses differ by at most {apart:.1e} of their size, over {len(losses)} steps.",
        figures,
    )


if __name__ == "__main__":
    main()
