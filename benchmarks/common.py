"""A table for people and a JSON file for programs."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "transformers")
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 16_384,
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 8,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}
"""The language model of the reference load: 25 M parameters."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def report(name: str, shown: str, figures: dict[str, Any]) -> None:
    """Print ``shown``, in Markdown; ``benchmarks.table`` puts it into docs/performance.md from the file written here."""
    print(shown)
    write(name, {"shown": shown, **figures})


def write(name: str, figures: dict[str, Any]) -> None:
    """``benchmarks/results/NAME.json``, with the command, the commit, the machine and the versions."""
    RESULTS.mkdir(exist_ok=True)
    made = {"command": command(), "date": f"{datetime.now(UTC):%Y-%m-%d}", "commit": commit(), "machine": machine()}
    (RESULTS / f"{name}.json").write_text(json.dumps({**made, **figures}, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """Versions, the system and its processors; the name of a GPU where this process used one."""
    versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    found: dict[str, Any] = {**versions, "system": platform.platform(), "cores": os.cpu_count()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def command() -> str:
    """How this process was started, as a reader would type it."""
    return " ".join(["python -m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]])


def commit() -> str:
    """The commit measured, ``+`` where files differ from it; ``?`` outside a repository."""
    try:
        return _git("rev-parse", "--short", "HEAD").strip() + ("+" if _git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "?"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout
