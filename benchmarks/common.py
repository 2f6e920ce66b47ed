"""A table for people and a JSON file for programs."""

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def write(name: str, figures: dict[str, Any]) -> None:
    """``benchmarks/results/NAME.json``, with the machine."""
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    machine = {"python": platform.python_version(), "system": platform.platform()}
    (folder / f"{name}.json").write_text(json.dumps({"machine": machine, **figures}, indent=2) + "\n")
