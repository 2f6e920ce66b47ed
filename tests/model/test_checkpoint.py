"""Saved models: what is written, that it comes back bit for bit, and that anything else is refused by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import mmkit

LLAMA = {
    "model_type": "llama",
    "vocab_size": 8,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "tie_word_embeddings": True,
}
ROWS = [{"text": "ab"}, {"text": ""}, {"text": "hgfedc"}]


def copier(backbone: dict[str, Any]) -> dict[str, Any]:
    return {
        "mmkit": 1,
        "modalities": {"text": {"adapter": {"use": "characters"}}},
        "backbone": backbone,
        "tasks": {"copy": {"input": "{text}", "output": "{text}", "head": {"use": "generate", "max_new_tokens": 5}}},
    }


TIED = {
    "causal-lm": ({"use": "causal-lm", "config": LLAMA}, "backbones.backbone.lm.lm_head.weight"),
    "transformer": ({"use": "transformer", "dim": 16, "layers": 1, "heads": 2}, None),
    "two": ({"use": "transformer", "dim": 16, "layers": 1, "heads": 2, "tie": False}, None),
}


@pytest.mark.parametrize("name", TIED)
def test_weights_come_back_bit_for_bit_and_tied_ones_are_stored_once(name: str, tmp_path: Path) -> None:
    backbone, tied = TIED[name]
    model = mmkit.build(copier(backbone), fit={"text": ["abcdefgh"]}).eval()
    folder = model.save(tmp_path / "model")
    again = mmkit.load(folder, verify=True)
    assert not again.training
    assert list(again.state_dict()) == list(model.state_dict())
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key])
    assert again.predict("copy", ROWS) == model.predict("copy", ROWS)
    assert again.predict("copy", ROWS, beams=3) == model.predict("copy", ROWS, beams=3)
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        stored = set(file.keys())
    doubles = {key for key in model.state_dict() if key not in stored}
    assert doubles == ({tied} if tied else set())
    assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in model.parameters())


def test_tied_weights_stay_one_after_loading(tmp_path: Path) -> None:
    model = mmkit.build(copier(TIED["causal-lm"][0]), fit={"text": ["abcdefgh"]})
    lm = mmkit.load(model.save(tmp_path / "model")).backbones["backbone"].lm
    assert lm.lm_head.weight is lm.model.embed_tokens.weight
    with torch.no_grad():
        lm.lm_head.weight.add_(1.0)
    assert torch.equal(lm.lm_head.weight, lm.model.embed_tokens.weight)


def test_what_a_folder_holds(mood: dict[str, Any], tmp_path: Path) -> None:
    folder = mmkit.build(mood, fit={"text": ["a fine film"]}).save(tmp_path / "model")
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == [
        "assets/text.adapter/words.json",
        "manifest.json",
        "model.safetensors",
        "origin.json",
        "plugins.json",
        "spec.json",
    ]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert sorted(manifest["sha256"]) == [name for name in files if name != "manifest.json"]
    lock = json.loads((folder / "plugins.json").read_text())
    assert lock["plugins"] == {
        "tasks": {"distribution": "mmkit-tasks", "version": "0.1.0"},
        "text": {"distribution": "mmkit-text", "version": "0.1.0"},
    }
    assert mmkit.load(folder).plan.spec == mmkit.build(mood, fit={"text": ["a"]}).plan.spec
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_relative_data_paths_start_where_the_spec_was_also_after_a_move(
    mood: dict[str, Any], tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    home = tmp_path / "home"
    write_rows([{"text": "a", "label": "pos"}], "home/data/rows.jsonl")
    mood["data"] = {"test": [{"task": "mood", "path": "data/*.jsonl"}]}
    del mood["train"]
    (home / "spec.json").write_text(json.dumps(mood))
    mmkit.build(home / "spec.json", fit={"text": ["a"]}).save(home / "runs" / "model")
    assert json.loads((home / "runs" / "model" / "origin.json").read_text()) == {"root": "../.."}
    home.rename(tmp_path / "elsewhere")
    result = mmkit.evaluate(tmp_path / "elsewhere" / "runs" / "model")["mood"]
    assert result.addresses == ["data/*.jsonl:1"]


def test_an_older_model_in_place_is_replaced(mood: dict[str, Any], tmp_path: Path) -> None:
    first = mmkit.build(mood, fit={"text": ["a"]}, seed=1).save(tmp_path / "model")
    before = (first / "model.safetensors").read_bytes()
    again = mmkit.build(mood, fit={"text": ["a b"]}, seed=2)
    assert again.save(tmp_path / "model") == first
    assert (first / "model.safetensors").read_bytes() != before
    assert mmkit.load(first, verify=True).predict("mood", {"text": "b"}) == again.predict("mood", {"text": "b"})


def test_a_save_that_fails_leaves_the_older_model_and_no_litter(mood: dict[str, Any], tmp_path: Path) -> None:
    model = mmkit.build(mood, fit={"text": ["a"]})
    folder = model.save(tmp_path / "model")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    def fail(target: Path) -> None:
        (target / "half").write_text("half")
        raise RuntimeError("no more paper")

    model.vocabularies["text"].save_assets = fail  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="no more paper"):
        model.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert mmkit.load(folder, verify=True)


def test_loading_reads_no_data_and_no_original_weights(tmp_path: Path) -> None:
    vit = {"model_type": "vit", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    from transformers import AutoModel
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    sizes = {"intermediate_size": 24, "image_size": 16, "patch_size": 8}
    kind = vit.pop("model_type")
    AutoModel.from_config(CONFIG_MAPPING[kind](**vit, **sizes)).save_pretrained(tmp_path / "vit")
    spec = {
        "mmkit": 1,
        "modalities": {"image": {"encoder": {"use": "hf-vision", "path": str(tmp_path / "vit")}}},
        "tasks": {
            "t": {"input": "{image}", "output": "{label}", "head": {"use": "classify", "labels": ["a", "b"]}},
        },
    }
    model = mmkit.build(spec).eval()
    folder = model.save(tmp_path / "model")
    shutil.rmtree(tmp_path / "vit")
    pixels = torch.rand(3, 20, 20)
    assert mmkit.load(folder).predict("t", {"image": pixels}) == model.predict("t", {"image": pixels})


def test_loading_to_another_type(mood: dict[str, Any], tmp_path: Path) -> None:
    folder = mmkit.build(mood, fit={"text": ["a"]}).save(tmp_path / "model")
    assert {p.dtype for p in mmkit.load(folder, dtype=torch.bfloat16).parameters()} == {torch.bfloat16}


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(mmkit.CheckpointError) as caught:
        mmkit.load(folder, **options)
    return str(caught.value).replace(str(folder), "MODEL")


@pytest.fixture
def saved(mood: dict[str, Any], tmp_path: Path) -> Path:
    return mmkit.build(mood, fit={"text": ["a fine film"]}).save(tmp_path / "model")


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == "MODEL is not a saved mmkit model: it has no manifest.json"
    assert refusal(tmp_path) == "MODEL is not a saved mmkit model: it has no manifest.json"
    (tmp_path / "file").write_text("x")
    assert refusal(tmp_path / "file") == "MODEL is not a saved mmkit model: it has no manifest.json"
    (tmp_path / "config.json").write_text("{}")
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert refusal(tmp_path) == "MODEL is not a saved mmkit model: it has no manifest.json"


@pytest.mark.parametrize("name", ["model.safetensors", "spec.json", "plugins.json", "assets/text.adapter/words.json"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    assert refusal(saved) == f"MODEL is incomplete: {name} is missing"


def test_one_flipped_bit_is_found_and_named(saved: Path) -> None:
    for name in ("model.safetensors", "assets/text.adapter/words.json"):
        whole = (saved / name).read_bytes()
        (saved / name).write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
        message = "its SHA-256 is not that of the manifest; restore it from a copy"
        assert refusal(saved, verify=True) == f"MODEL/{name} is damaged: {message}"
        (saved / name).write_bytes(whole)
    assert mmkit.load(saved, verify=True)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("manifest.json", '{"format": 2}', "MODEL has format 2; this mmkit reads 1"),
        ("manifest.json", '{"format": 1', "MODEL/manifest.json is not valid JSON: "),
        ("manifest.json", "[]", "MODEL/manifest.json is not a JSON object"),
        ("plugins.json", "[]", "MODEL/plugins.json is not a JSON object"),
        ("plugins.json", '{"plugins": []}', "MODEL/plugins.json does not say which plugins made the model"),
        ("plugins.json", '{"plugins": {"text": 3}}', "MODEL/plugins.json does not say which plugins made the model"),
        ("spec.json", '{"mmkit": 1', "MODEL/spec.json is not valid JSON: "),
        (
            "spec.json",
            '{"mmkit": 1, "modalities": {"text": {"adapter": "words"}}, "tasks": {}}',
            "MODEL/spec.json does not fit the installed plugins: the spec has 1 problem:\n"
            "  tasks: Dictionary should have at least 1 item after validation, not 0",
        ),
        (
            "assets/text.adapter/words.json",
            "not JSON",
            "MODEL cannot be loaded: text/words at modalities.text.adapter could not be built: JSONDecodeError: ",
        ),
    ],
)
def test_a_broken_file_is_named(saved: Path, name: str, text: str, message: str) -> None:
    (saved / name).write_text(text)
    assert refusal(saved).startswith(message)


@pytest.mark.parametrize("size", [0, 4, 20, 200])
def test_torn_weights_are_refused(saved: Path, size: int) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    assert refusal(saved).startswith("MODEL/model.safetensors is not a readable safetensors file: ")


def test_weights_of_another_model_are_refused(saved: Path) -> None:
    weights = {"heads.mood.output.weight": torch.zeros(2, 8), "other": torch.zeros(1)}
    save_file(weights, saved / "model.safetensors")
    assert refusal(saved) == (
        "MODEL/model.safetensors does not fit the spec: missing ['backbones.backbone.table.weight', "
        "'backbones.backbone.lstm.weight_ih_l0', 'backbones.backbone.lstm.weight_hh_l0', "
        "'backbones.backbone.lstm.bias_ih_l0', 'backbones.backbone.lstm.bias_hh_l0'], unexpected ['other']"
    )
    save_file({"heads.mood.output.weight": torch.zeros(3, 8)}, saved / "model.safetensors")
    assert refusal(saved).startswith(
        "MODEL/model.safetensors does not fit the spec: Error(s) in loading state_dict for Model:\n\tsize mismatch for "
        "heads.mood.output.weight: "
    )


def test_a_header_beyond_the_cap_is_refused_unread(saved: Path) -> None:
    (saved / "model.safetensors").write_bytes((9 * 1024 * 1024).to_bytes(8, "little") + b"{" + b" " * 100)
    assert refusal(saved) == "MODEL/model.safetensors has a header of 9,437,184 bytes; at most 8,388,608 are read"


@pytest.mark.parametrize("aliases", ["[]", '{"a": "b"}', "no JSON", '{"a": 3}'])
def test_names_of_tied_weights_that_make_no_sense_are_refused(saved: Path, aliases: str) -> None:
    path = saved / "model.safetensors"
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata={"aliases": aliases})
    assert refusal(saved).startswith("MODEL/model.safetensors is not a readable safetensors file: ")


def test_weights_lie_where_torch_would_put_them(mood: dict[str, Any], tmp_path: Path) -> None:
    """Kernels may round otherwise on memory that a file was mapped to, at any offset."""
    model = mmkit.build(mood, fit={"text": ["a b c"]})
    model.save(tmp_path / "model")
    loaded = mmkit.load(tmp_path / "model")
    assert {name: p.data_ptr() % 64 for name, p in loaded.named_parameters() if p.data_ptr() % 64} == {}
