"""What 200 installed plugins cost a command that lists them, and ``import mmkit``; medians of interleaved runs.

``python -m benchmarks.many_plugins`` prints a table and writes ``benchmarks/results/many_plugins.json``. The plugins that are installed
count; small distributions in a folder on PYTHONPATH make up the rest.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import entry_points
from pathlib import Path
from statistics import median

from benchmarks.common import report, table

FEW = 4
MODULE = '''"""A plugin of three components."""

from mmkit import Component, hookimpl


@hookimpl
def mmkit_components():
    return [
        Component(kind, f"{kind}-NUMBER", f"A {kind}.", "dummy_NUMBER.build:build", "dummy_NUMBER.config:Config", modality="m")
        for kind in ("encoder", "adapter", "head")
    ]
'''
METADATA = (
    """Metadata-Version: 2.4
Name: mmkit-dummy-NUMBER
Version: 1.0
Summary: A plugin that is only listed.
License-Expression: Apache-2.0
Requires-Python: >=3.11
Requires-Dist: mmkit
Requires-Dist: torch>=2.11

A description of the plugin, as long as a short README.
"""
    + "It does nothing, and says so in a few words.\n" * 40
)


def install(folder: Path, count: int) -> None:
    """So many distributions with a plugin, as pip would leave them."""
    for index in range(count):
        number = f"{index:03}"
        package, info = folder / f"dummy_{number}", folder / f"mmkit_dummy_{number}-1.0.dist-info"
        package.mkdir(parents=True)
        info.mkdir()
        files = {
            package / "__init__.py": '"""A plugin that is only listed."""\n',
            package / "plugin.py": MODULE,
            info / "METADATA": METADATA,
            info / "entry_points.txt": f"[mmkit]\ndummy-{number} = dummy_{number}.plugin\n",
            info / "INSTALLER": "pip\n",
            info / "RECORD": f"dummy_{number}/plugin.py,,\n",
        }
        for path, text in files.items():
            path.write_text(text.replace("NUMBER", number))


def seconds(command: list[str], folder: Path) -> float:
    """Wall time of one process that finds the distributions in this folder."""
    paths = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": ""}
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - started


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--plugins", type=int, default=200)
    options = parser.parse_args()
    here = len(entry_points(group="mmkit"))
    if here > FEW:
        raise SystemExit(f"{here} plugins are installed here, the comparison starts from {FEW}")
    commands = {
        "bare python": [sys.executable, "-c", "pass"],
        "import mmkit": [sys.executable, "-c", "import mmkit"],
        "mmkit plugins": [sys.executable, "-m", "mmkit", "plugins"],
        "mmkit components": [sys.executable, "-m", "mmkit", "components"],
    }
    times: dict[tuple[str, int], list[float]] = {(name, n): [] for name in commands for n in (FEW, options.plugins)}
    with tempfile.TemporaryDirectory() as temporary:
        folders = {count: Path(temporary) / str(count) for count in (FEW, options.plugins)}
        for count, folder in folders.items():
            folder.mkdir()
            install(folder, count - here)
        for run in range(options.runs + 1):
            for name, count in times:
                took = seconds(commands[name], folders[count])
                if run:  # the first one compiles the modules
                    times[name, count].append(took)
    figures = {name: {str(count): median(times[name, count]) for count in folders} for name in commands}
    rows = []
    for name, of in figures.items():
        few, many = of.values()
        rows.append((name, f"{few:.3f}", f"{many:.3f}", f"{many / few:.2f} ×"))
    head = ("", f"seconds with {FEW} plugins", f"with {options.plugins}", "ratio")
    report(
        "many_plugins",
        f"Medians of {options.runs} interleaved runs.\n\n{table(head, rows)}",
        {"runs": options.runs, "seconds": figures},
    )


if __name__ == "__main__":
    main()
