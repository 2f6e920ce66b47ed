"""One small untrained model of several modalities, an ECG plugin among its parts, and rows for it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mmkit
from mmkit.cli import main
from mmkit.discovery.loader import discover

EXAMPLE = Path(__file__).parents[2] / "examples" / "mmkit-ecg"
TEXTS = ["hello world", "Describe: a circle of ducks"]
SPEC: dict[str, Any] = {
    "mmkit": 1,
    "modalities": {
        "image": {"encoder": {"use": "cnn", "image_size": 16, "channels": [8, 16]}, "adapter": "linear"},
        "ecg": {"encoder": {"use": "ecg", "dim": 16, "layers": 2}, "adapter": "linear"},
        "words": {"adapter": {"use": "characters"}},
        "letters": {"adapter": {"use": "characters"}},
    },
    "backbone": {"use": "transformer", "dim": 32, "layers": 1, "heads": 2, "tie": False, "dropout": 0.0},
    "tasks": {
        "shape": {
            "input": "{image}",
            "output": "{label}",
            "reads": "image.encoder",
            "head": {"use": "classify", "labels": ["disc", "square", "star"]},
        },
        "caption": {
            "input": "{image} Describe: {hint}",
            "output": "{caption}",
            "columns": {"hint": "words", "caption": "letters"},
            "head": {"use": "generate", "max_new_tokens": 12},
        },
        "beat": {
            "input": "{ecg} {image}",
            "output": "{text}",
            "columns": {"text": "words"},
            "head": {"use": "generate", "max_new_tokens": 8},
        },
    },
}


@pytest.fixture(scope="module", autouse=True)
def ecg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The example's plugin, as pip would have installed it; other folders' tests run without it."""
    site = tmp_path_factory.mktemp("site")
    info = site / "mmkit_ecg-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mmkit-ecg\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mmkit]\necg = mmkit_ecg.plugin\n")
    added = [str(site), str(EXAMPLE)]
    sys.path[:0] = added
    discover.cache_clear()
    yield
    for path in added:
        sys.path.remove(path)
    discover.cache_clear()


@pytest.fixture(scope="module")
def model(ecg: None) -> mmkit.Model:
    made = mmkit.build(SPEC, fit={"words": TEXTS, "letters": TEXTS}, seed=3).eval()
    with torch.no_grad():  # untrained answers that differ from row to row
        for parameter in made.backbones.parameters():
            parameter.mul_(4)
    return made


@pytest.fixture(scope="session")
def rows() -> list[dict[str, Any]]:
    draw = np.random.default_rng(0)
    return [
        {
            "image": draw.integers(0, 256, (20, 16, 3), dtype=np.uint8),
            "hint": hint,
            "caption": text,
            "text": text,
            "label": label,
            "ecg": draw.normal(size=size).tolist(),
        }
        for hint, text, label, size in [
            ("a circle", "duck", "star", 30),
            ("ducks", "hello world", "disc", 17),
            ("o", "de", "disc", 50),
        ]
    ]


@pytest.fixture(scope="module")
def exported(model: mmkit.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mmkit.exchange.hf_export import export_hf

    folder = tmp_path_factory.mktemp("exported") / "model"
    export_hf(model, folder)
    return folder


@pytest.fixture
def run(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """``mmkit …`` in this process and in the test's folder: its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def command(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        assert isinstance(caught.value.code, int)
        printed = capfd.readouterr()
        return caught.value.code, printed.out, printed.err

    return command
