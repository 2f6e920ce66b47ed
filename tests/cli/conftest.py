"""A tiny model of real components, saved once, and a way to run commands in this process."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from mmkit.cli import main

ROWS = [
    {"text": "a fine warm film", "image": "light.png", "caption": "light", "label": "pos", "tint": "light"},
    {"text": "a dull cold film", "image": "dark.png", "caption": "dark", "label": "neg", "tint": "dark"},
] * 4
SPEC: dict[str, Any] = {
    "mmkit": 1,
    "modalities": {
        "image": {"encoder": {"use": "cnn", "image_size": 8, "channels": [4]}, "adapter": "linear"},
        "text": {"adapter": {"use": "words", "vocab_size": 20}},
    },
    "backbone": {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8},
    "tasks": {
        "caption": {
            "input": "{image}",
            "output": "{caption}",
            "columns": {"caption": "text"},
            "head": {"use": "generate", "max_new_tokens": 4},
        },
        "mood": {"input": "{text}", "output": "{label}", "head": {"use": "classify", "labels": ["neg", "pos"]}},
        "shade": {
            "input": "{image}",
            "output": "{tint}",
            "reads": "image.encoder",
            "head": {"use": "classify", "labels": ["dark", "light"]},
        },
    },
    "data": {
        "train": [{"task": "mood", "path": "rows.jsonl"}],
        "test": [{"task": "mood", "path": "rows.jsonl"}, {"task": "shade", "path": "rows.jsonl"}],
    },
    "train": {"log_every": 2, "stages": [{"name": "all", "steps": 2, "batch_size": 4}]},
}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No terminal, no colours, and warnings as they were once the test is done."""
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    with warnings.catch_warnings():
        yield


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command as ``mmkit …`` would, in this process."""

    def command(*arguments: object) -> Done:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        assert isinstance(caught.value.code, int)
        printed = capfd.readouterr()
        return Done(caught.value.code, printed.out, printed.err)

    return command


def process(*arguments: object, cwd: Path | None = None, **options: Any) -> "subprocess.Popen[str]":
    """A command in a process of its own."""
    command = [sys.executable, "-m", "mmkit", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command, cwd=cwd, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}, **pipes)


def write_rows(path: Path, rows: list[Any]) -> Path:
    """JSON lines; a string is written as it is."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def write_work(folder: Path) -> Path:
    """The spec with its rows and pictures; the path of the spec."""
    for name, grey in (("light.png", 230), ("dark.png", 20)):
        Image.new("L", (8, 8), grey).save(folder / name)
    write_rows(folder / "rows.jsonl", ROWS)
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(SPEC, sort_keys=False))
    return path


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A spec of its own for every test."""
    return write_work(tmp_path)


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the spec, its data, and the model in ``model``, saved with fresh weights."""
    import mmkit

    folder = tmp_path_factory.mktemp("work")
    model = mmkit.build(write_work(folder), fit={"text": [row["text"] for row in ROWS] + ["light dark"]})
    model.save(folder / "model")
    return folder


@pytest.fixture(scope="session")
def model(work: Path) -> Path:
    """Folder of the saved model."""
    return work / "model"
