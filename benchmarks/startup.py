"""Start-up costs, medians of interleaved runs: bare Python, ``import mmkit``, the light commands, ``mmkit check``.

``python -m benchmarks.startup`` prints a table and writes ``benchmarks/results/startup.json``.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.common import report, table

SPEC = """
mmkit: 1
modalities: {text: {adapter: {use: words}}}
backbone: {use: lstm}
tasks:
  mood: {input: "{text}", output: "{label}", head: {use: classify, labels: [neg, pos], binary: true}}
"""


def seconds(command: list[str]) -> float:
    """Wall time of one process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "spec.yaml"
        spec.write_text(SPEC)
        mmkit = [sys.executable, "-m", "mmkit"]
        static = f"import mmkit; mmkit.check({str(spec)!r}, static=True)"
        commands = {
            "bare python": [sys.executable, "-c", "pass"],
            "import mmkit": [sys.executable, "-c", "import mmkit"],
            "mmkit plugins": [*mmkit, "plugins"],
            "static check (no torch)": [sys.executable, "-c", static],
            "import torch": [sys.executable, "-c", "import torch"],
            "mmkit check SPEC": [*mmkit, "check", str(spec)],
        }
        for command in commands.values():
            seconds(command)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(runs):
            for name, command in commands.items():
                times[name].append(seconds(command))
    figures = {name: median(values) for name, values in times.items()}
    bare, torch = figures["bare python"], figures["import torch"]
    rows = [(name, f"{value:.3f}", f"{value - bare:.3f}", f"{value / torch:.2f}") for name, value in figures.items()]
    head = ("", "seconds", "over bare Python", "of import torch")
    report("startup", f"Medians of {runs} interleaved runs.\n\n{table(head, rows)}", {"runs": runs, "seconds": figures})


if __name__ == "__main__":
    main()
