"""The plugin's records, and a whole model with each encoder."""

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from mmkit_image.plugin import mmkit_components

import mmkit

VIT = {
    "model_type": "vit",
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
ENCODERS = {
    "cnn": {"image_size": 16, "channels": [8, 8]},
    "timm": {"model": "resnet18", "image_size": 32, "out_index": 2},
    "hf-vision": {"config": {**VIT, "image_size": 32, "patch_size": 16}},
}


def load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def test_builders_take_exactly_the_config_fields() -> None:
    for component in mmkit_components():
        parameters = list(inspect.signature(load(component.builder)).parameters)
        assert parameters == ["context", *load(component.config).model_fields], component.name


def test_records_and_configs_import_no_torch() -> None:
    code = (
        "import sys, mmkit_image.plugin, mmkit_image.config\n"
        "mmkit_image.plugin.mmkit_components()\n"
        "assert not {'torch', 'timm', 'transformers', 'numpy', 'PIL'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_a_whole_model_saves_and_loads(name: str, photo_path: Path, tmp_path: Path) -> None:
    task = {"input": "{image}", "output": "{label}", "head": {"use": "classify", "labels": ["a", "b"]}}
    model = mmkit.build(
        {"mmkit": 1, "modalities": {"image": {"encoder": {"use": name, **ENCODERS[name]}}}, "tasks": {"t": task}}
    )
    model.eval()
    model.save(tmp_path / "model")
    again = mmkit.load(tmp_path / "model")
    assert again.predict("t", {"image": str(photo_path)}) == model.predict("t", {"image": str(photo_path)})
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key])
