"""From ``mmkit new plugin`` to a passing conformance run, for every kind: each command in a process of its own.

``python -m benchmarks.new_plugin`` prints a table and writes ``benchmarks/results/new_plugin.json``.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import report, table
from mmkit.scaffold.plugin import KINDS

PIP = ("pip", "install", "--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--target", "site")


def seconds(folder: Path, *words: str) -> float:
    """Wall time of a module run in the folder, which has to end well; the plugin installed there is found."""
    path = os.pathsep.join([str(folder / "site"), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path}
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", *words], cwd=folder, check=True, capture_output=True, env=environment)
    return time.perf_counter() - started


def measured(kind: str) -> dict[str, float]:
    """Seconds of each step."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return {
            "mmkit new": seconds(folder, "mmkit", "new", "plugin", "bench-me", "--kind", kind),
            "pip install": seconds(folder, *PIP, "./mmkit-bench-me"),
            "mmkit conform": seconds(folder, "mmkit", "conform", "mmkit-bench-me"),
        }


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    figures = {kind: measured(kind) for kind in parser.parse_args().kinds}
    steps = list(next(iter(figures.values())))
    rows = [(kind, *(f"{s[step]:.1f}" for step in steps), f"{sum(s.values()):.1f}") for kind, s in figures.items()]
    about = "Seconds of one run, dependencies installed before; the conformance run reaches gold, else it is no run."
    report("new_plugin", f"{about}\n\n{table(('kind', *steps, 'together'), rows)}", {"seconds": figures})


if __name__ == "__main__":
    main()
