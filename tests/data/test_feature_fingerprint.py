"""What makes features of two encoders different, and what does not."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mmkit
from mmkit.data.cache import fingerprint as module
from mmkit.data.cache.fingerprint import facts_of, fingerprint

TOWER = {
    **{"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"intermediate_size": 8, "image_size": 16, "patch_size": 8},
}
ENCODERS: dict[str, dict[str, Any]] = {
    "cnn": {"use": "cnn", "image_size": 16, "channels": [4]},
    "timm": {"use": "timm", "model": "test_vit", "image_size": 32, "features": "pooled"},
    "hf-vision": {"use": "hf-vision", "config": TOWER},
    "gru": {"use": "gru", "vocabulary": {"use": "characters"}, "hidden_dim": 4, "embedding_dim": 4},
}


def spec(encoder: dict[str, Any]) -> dict[str, Any]:
    return {
        "mmkit": 1,
        "modalities": {"x": {"encoder": encoder}},
        "backbone": {"use": "none", "dim": encoder.get("hidden_dim", 8)},
        "tasks": {
            "t": {
                "input": "{x}",
                "output": "{y}",
                "reads": "x.encoder",
                "head": {"use": "classify", "labels": ["a", "b"]},
            }
        },
    }


def built(name: str, **changed: Any) -> mmkit.Model:
    return mmkit.build(spec({**ENCODERS[name], **changed}), fit={"x": ["some text"]})


def id_of(model: mmkit.Model, precision: str = "fp32") -> str:
    return fingerprint(facts_of(model, "x", precision))


@pytest.mark.parametrize("name", list(ENCODERS))
def test_saved_and_loaded_encoder_is_the_same(name: str, tmp_path: Path) -> None:
    model = built(name)
    model.save(tmp_path / "model")
    assert facts_of(mmkit.load(tmp_path / "model"), "x", "fp32") == facts_of(model, "x", "fp32")


def test_another_process_finds_the_same(tmp_path: Path) -> None:
    folder = built("gru").save(tmp_path / "model")
    code = (
        "import mmkit; from mmkit.data.cache.fingerprint import *\n"
        f"print(fingerprint(facts_of(mmkit.load({str(folder)!r}), 'x', 'fp32')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == id_of(mmkit.load(folder))


def nudged(model: mmkit.Model) -> mmkit.Model:
    with torch.no_grad():
        next(model.parts.encoders["x"].parameters()).view(-1)[0] += 1e-3
    return model


def new_statistics(model: mmkit.Model) -> mmkit.Model:
    for name, buffer in model.parts.encoders["x"].named_buffers():
        if name.endswith("running_mean"):
            buffer += 1
    return model


CHANGES: dict[str, Callable[[], str]] = {
    "weights": lambda: id_of(nudged(built("cnn"))),
    "buffers": lambda: id_of(new_statistics(built("cnn"))),
    "type of the weights": lambda: id_of(built("cnn").to(torch.bfloat16)),
    "config of the processor": lambda: id_of(built("cnn", resize="pad")),
    "config of the network": lambda: id_of(built("cnn", features="pooled")),
    "precision": lambda: id_of(built("cnn"), "bf16"),
    "component": lambda: id_of(built("timm")),
}


@pytest.mark.parametrize("what", list(CHANGES))
def test_every_change_of_the_encoder_changes_the_fingerprint(what: str) -> None:
    assert id_of(built("cnn")) == id_of(built("cnn"))
    assert CHANGES[what]() != id_of(built("cnn"))


def test_settings_that_only_files_hold_change_the_fingerprint(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    ViTModel(ViTConfig(**TOWER)).save_pretrained(tmp_path)
    found = []
    for mean in (0.5, 0.4):
        settings = {"image_mean": [mean] * 3, "image_std": [0.5] * 3, "size": {"height": 16, "width": 16}}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
        found.append(facts_of(mmkit.build(spec({"use": "hf-vision", "path": str(tmp_path)})), "x", "fp32"))
    assert found[0]["weights"] == found[1]["weights"]
    assert fingerprint(found[0]) != fingerprint(found[1])


def test_code_and_upgrades_of_a_plugin_change_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    model = built("cnn")
    facts = facts_of(model, "x", "fp32")
    assert facts["version"] == "0.1.0"
    assert facts["torch"] == torch.__version__
    assert "timm" in facts["requires"]
    monkeypatch.setattr(module.metadata, "version", lambda name: "99")
    assert facts_of(model, "x", "fp32")["requires"]["timm"] == "99"
    monkeypatch.setattr(module.inspect, "getfile", lambda kind: __file__)
    assert facts_of(model, "x", "fp32")["code"] != facts["code"]
