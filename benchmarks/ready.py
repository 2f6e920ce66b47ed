"""How soon ``mmkit serve`` is ready: two models of 135 M parameters, beside importing torch and reading the model's bytes.

``python -m benchmarks.ready`` prints tables and writes ``benchmarks/results/ready.json``. Ready: a server was ended by ``kill -9``;
from the start of a new process to ``/healthz`` saying ready. One model is of SmolLM2-135M's architecture and runs the code of
transformers, the other is mmkit's own transformer and does not. Seconds of the processor are those of the process, which other
programs on the same core change least; runs are interleaved. Where they go: one process does what the server does, step by step.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.checkpoint_load import SPEC, read_bytes
from benchmarks.common import report, table
from benchmarks.serving import start

Cost = tuple[float, float]
MODELS: dict[str, dict[str, Any]] = {
    "`causal-lm`: Llama of transformers": SPEC,
    "`transformer`: mmkit's own": {**SPEC, "backbone": {"use": "transformer", "dim": 576, "layers": 34, "heads": 9}},
}


def ready(folder: Path) -> Cost:
    """Of a server until it is ready: seconds, and those of the processor."""
    server, _, seconds = start(folder)
    os.kill(server.pid, signal.SIGKILL)
    used = os.wait4(server.pid, 0)[2]
    server.returncode = -signal.SIGKILL
    return seconds, used.ru_utime + used.ru_stime


def torch_alone() -> Cost:
    """The same of ``import torch``."""
    started = time.perf_counter()
    process = os.posix_spawn(sys.executable, [sys.executable, "-c", "import torch"], os.environ)
    used = os.wait4(process, 0)[2]
    return time.perf_counter() - started, used.ru_utime + used.ru_stime


def bytes_alone(folder: Path) -> Cost:
    """The same of reading the bytes."""
    started = time.process_time()
    seconds = read_bytes(folder)
    return seconds, time.process_time() - started


def steps(folder: Path) -> list[tuple[str, float]]:
    """What a start does, with seconds of the processor since the last step."""
    from mmkit.cli.model import open_model, staying

    found, before = [], 0.0

    def step(name: str, do: Callable[[], Any]) -> Any:
        nonlocal before
        made, now = do(), time.process_time()
        found.append((name, now - before))
        before = now
        return made

    step("Python, command line", lambda: __import__("mmkit.cli.app"))
    with staying(frozen=True):
        step("torch", lambda: __import__("torch"))
        step("FastAPI, uvicorn, the rest of mmkit", lambda: __import__("mmkit.serve.run"))
        if "causal-lm" in (folder / "spec.json").read_text():
            step("code of transformers", lambda: __import__("transformers.models.llama.modeling_llama"))
        model = step("model: plan, build, map weights", lambda: open_model(folder, "cpu"))
    from mmkit.serve.app import create_app

    step("routes and schemas", lambda: create_app(model))
    return found


def steps_alone(folder: Path) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.ready", "--steps", str(folder)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {name: float(seconds) for seconds, name in (line.split(" ", 1) for line in lines)}


def measured(folders: dict[str, Path], runs: int) -> tuple[dict[str, list[Cost]], dict[str, list[dict[str, float]]]]:
    """Costs by what was run, and the steps by model."""
    costs: dict[str, list[Cost]] = {name: [] for name in (*folders, "import torch", "read the bytes")}
    parts: dict[str, list[dict[str, float]]] = {name: [] for name in folders}
    for folder in folders.values():
        ready(folder)  # what is read from disk is in memory afterwards
    for _ in range(runs):
        for name, folder in folders.items():
            costs[name].append(ready(folder))
            parts[name].append(steps_alone(folder))
        costs["import torch"].append(torch_alone())
        costs["read the bytes"].append(bytes_alone(folders[next(iter(folders))]))
    return costs, parts


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one run")
    parser.add_argument("--steps", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps:
        for name, seconds in steps(options.steps):
            print(seconds, name)
        return
    import mmkit

    runs = 1 if options.quick else options.runs
    with tempfile.TemporaryDirectory() as where:
        folders = {name: Path(where) / str(place) for place, name in enumerate(MODELS)}
        for name, folder in folders.items():
            mmkit.build(MODELS[name], fit={"text": ["some words to learn pairs from"]}).save(folder)
        costs, parts = measured(folders, runs)
    medians = {name: [median(cost[place] for cost in found) for place in (0, 1)] for name, found in costs.items()}
    base = [sum(medians[name][place] for name in ("import torch", "read the bytes")) for place in (0, 1)]
    rows = [
        (name, f"{wall:.1f}", f"{wall / base[0]:.2f} ×", f"{used:.1f}", f"{used / base[1]:.2f} ×")
        for name, (wall, used) in medians.items()
    ]
    head = ("ready after kill −9", "seconds", "of torch and the bytes", "of the processor", "of torch and the bytes")
    names = list(dict.fromkeys(step for found in parts.values() for one in found for step in one))
    spent = [
        (step, *(f"{median(one[step] for one in found):.2f}" if step in found[0] else "–" for found in parts.values()))
        for step in names
    ]
    title = f"135 M parameters, medians of {runs} interleaved runs."
    shown = f"{title}\n\n{table(head, rows)}\n\n{table(('seconds of the processor', *parts), spent)}"
    report("ready", shown, {"runs": runs, "costs": costs, "steps": parts})


if __name__ == "__main__":
    main()
