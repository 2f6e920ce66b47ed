"""The plugin's records, and a whole model with each encoder."""

import inspect
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from mmkit_audio.conformance import HUBERT
from mmkit_audio.plugin import mmkit_components

import mmkit

ENCODERS: dict[str, dict[str, Any]] = {
    "log-mel": {"n_mels": 20, "hop_ms": 20},
    "conformer": {"n_mels": 20, "dim": 16, "heads": 2, "layers": 1, "kernel": 3},
    "hf-audio": {"config": HUBERT},
    "fsq-audio": {"n_mels": 20, "dim": 16, "layers": 1, "kernel": 3, "codebooks": 2},
}


def load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def test_builders_take_exactly_the_config_fields() -> None:
    for component in mmkit_components():
        parameters = list(inspect.signature(load(component.builder)).parameters)
        assert sorted(parameters) == sorted(["context", *load(component.config).model_fields]), component.name


def test_every_setting_is_documented() -> None:
    for component in mmkit_components():
        for name, field in load(component.config).model_fields.items():
            assert field.description, f"{component.name}.{name}"


def test_discovery_imports_no_torch() -> None:
    program = (
        "import sys; from mmkit_audio import plugin, config; plugin.mmkit_components(); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'soundfile', 'torchaudio')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_a_model_with_the_encoder_saves_loads_and_predicts_the_same(
    name: str, tmp_path: Path, clips: Sequence[Any]
) -> None:
    spec = {
        "mmkit": 1,
        "modalities": {
            "audio": {"encoder": {"use": f"audio/{name}", **ENCODERS[name]}, "adapter": {"use": "pool"}},
        },
        "tasks": {
            "pitch": {
                "input": "{audio}",
                "output": "{label}",
                "head": {"use": "classify", "labels": ["low", "high"]},
                "reads": "audio",
            }
        },
    }
    model = mmkit.build(spec)
    model.save(tmp_path / "model")
    again = mmkit.load(tmp_path / "model")
    rows = [{"audio": clip} for clip in clips]
    assert again.predict("pitch", rows) == model.predict("pitch", rows)


def test_readme_names_every_option() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    for component in mmkit_components():
        assert f"## `{component.name}`" in readme
        for name in load(component.config).model_fields:
            assert f"`{name}`" in readme, f"{component.name}: {name}"
