"""Linear layers held in fewer bits."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mmkit
from mmkit.errors import CheckpointError, MmkitError
from mmkit.model.compact import layers

CAUSAL = {
    "use": "causal-lm",
    "config": {
        "model_type": "llama",
        "vocab_size": 60,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "tie_word_embeddings": False,
    },
}
PLAIN = {"use": "transformer", "dim": 32, "layers": 2, "heads": 2}


@pytest.fixture(params=["causal-lm", "transformer"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    spec: dict[str, Any] = {
        "mmkit": 1,
        "modalities": {
            "text": {"adapter": "characters"},
            "image": {"encoder": {"use": "cnn", "image_size": 16, "channels": [4, 8]}, "adapter": "linear"},
        },
        "backbone": CAUSAL if request.param == "causal-lm" else PLAIN,
        "tasks": {
            "say": {"input": "{q}", "output": "{a}", "columns": {"q": "text", "a": "text"}, "head": "generate"},
            "mood": {
                "input": "{q}",
                "output": "{m}",
                "columns": {"q": "text"},
                "head": {"use": "classify", "labels": ["a", "b"]},
            },
        },
    }
    model = mmkit.build(spec, fit={"text": ["what is it, a red dot on a blue line"]})
    return model.save(tmp_path / "model")


def weights(model: nn.Module) -> dict[str, Any]:
    return {name: module.weight for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def test_predictions_are_those_of_the_rounded_weights(saved: Path) -> None:
    model, rounded = mmkit.load(saved).quantize("int8"), mmkit.load(saved)
    changed = {name: weight for name, weight in weights(model).items() if type(weight).__module__.startswith("torchao")}
    for name, weight in changed.items():
        layer: Any = rounded.get_submodule(name)
        error = (layer.weight - weight.dequantize()).abs().max(1).values
        assert bool((error <= layer.weight.abs().max(1).values / 127 / 2 * 1.01).all())
        assert weight.qdata.dtype == torch.int8
        layer.weight = nn.Parameter(weight.dequantize(), requires_grad=False)
    assert len(changed) >= 8
    assert all(name.startswith(("backbones.", "encoders.")) for name in changed)
    rows = [{"q": "what is it"}, {"q": "a red"}, {"q": "dot"}]
    for drawn in ({}, {"temperature": 1.0, "seed": [1, 2, 3]}):
        assert model.predict("say", rows, **drawn) == rounded.predict("say", rows, **drawn)
    for one, other in zip(model.predict("mood", rows), rounded.predict("mood", rows), strict=True):
        assert one["label"] == other["label"]


def test_heads_and_the_layer_that_scores_ids_stay(saved: Path) -> None:
    model = mmkit.load(saved).quantize("int8")
    for backbone in model.parts.backbones.values():
        scoring = backbone.output_layer()
        assert scoring is not None
        assert type(scoring[0]) is nn.Parameter
    plain = [type(weight) for name, weight in weights(model).items() if name.startswith("heads.")]
    assert plain
    assert set(plain) == {nn.Parameter}
    assert layers(model) != []


def test_such_a_model_is_not_saved(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as refused:
        mmkit.load(saved).quantize("int8").save(tmp_path / "again")
    assert str(refused.value) == "a model with quantize('int8') is not saved; load it anew, and save that"
    assert not (tmp_path / "again").exists()


def test_such_a_model_is_not_exported_nor_held_in_fewer_bits_again(saved: Path, tmp_path: Path) -> None:
    from mmkit.exchange.graph_export import export_graphs
    from mmkit.exchange.hf_export import export_hf
    from mmkit.exchange.hf_model import MmkitModel

    model = mmkit.load(saved)
    wrapped = MmkitModel.of(model)
    model.quantize("int8")
    held = "a model with quantize('int8') is not {}; load it anew, and take that"
    for done, said in (
        (lambda: export_hf(model, tmp_path / "out"), held.format("exported")),
        (lambda: export_graphs(model, tmp_path / "out", "torch"), held.format("exported")),
        (lambda: wrapped.save_pretrained(tmp_path / "out"), held.format("saved")),
        (lambda: model.quantize("int8"), "this model is held with quantize('int8') already; load it anew"),
    ):
        with pytest.raises(MmkitError) as refused:
            done()
        assert str(refused.value) == said
    assert not (tmp_path / "out").exists()


def test_an_unknown_kind_names_the_nearest(saved: Path) -> None:
    with pytest.raises(MmkitError) as refused:
        mmkit.load(saved).quantize("int")
    assert str(refused.value) == "quantize 'int': did you mean 'int8'?"


@pytest.mark.parametrize(
    ("kind", "library", "extra"), [("int8", "torchao", "quantize"), ("nf4", "bitsandbytes", "qlora")]
)
def test_without_its_library_the_extra_is_named(
    saved: Path, kind: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MmkitError) as refused:
        mmkit.load(saved).quantize(kind)
    assert str(refused.value) == (
        f"quantize {kind!r} needs {library}, which is not installed; fix: pip install 'mmkit[{extra}]', or leave out quantize"
    )


def test_four_bits_answer(saved: Path) -> None:
    pytest.importorskip("bitsandbytes")
    model = mmkit.load(saved).quantize("nf4")
    found = [type(module).__name__ for module in model.modules() if isinstance(module, nn.Linear)]
    assert found.count("Linear4bit") == len(layers(mmkit.load(saved)))
    assert len(model.predict("say", [{"q": "what is it"}, {"q": "dot"}])) == 2


def test_the_command_serves_with_it(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmkit.cli import main

    served: list[mmkit.Model] = []
    monkeypatch.setattr("mmkit.serve.run.serve", lambda model, *rest: served.append(model))
    with pytest.raises(SystemExit) as left:
        main(["serve", str(saved), "--port", "0", "--quantize", "int8", "--device", "cpu"])
    assert not left.value.code
    assert [model.compacted for model in served] == ["int8"]
