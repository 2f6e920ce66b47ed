"""A saved model from elsewhere: it selects installed plugins by name and runs nothing of its own."""

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


@pytest.fixture
def saved(mood: dict[str, Any], tmp_path: Path) -> Path:
    return mmkit.build(mood, fit={"text": ["a fine film"]}).save(tmp_path / "model")


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(mmkit.CheckpointError) as caught:
        mmkit.load(folder, **options)
    return str(caught.value).replace(str(folder), "MODEL")


def change(folder: Path, name: str, edit: Callable[[Any], None]) -> None:
    """Edit a JSON file and make the manifest agree, as an attacker would."""
    value = json.loads((folder / name).read_text())
    edit(value)
    (folder / name).write_text(json.dumps(value))
    manifest = json.loads((folder / "manifest.json").read_text())
    if name != "manifest.json":
        manifest["sha256"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_pickled_weights_are_refused_unread(saved: Path, tmp_path: Path, kind: str) -> None:
    import torch

    path = saved / "model.safetensors"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    else:
        torch.save({"weight": Bomb(tmp_path / "ran")}, path)
    assert refusal(saved) == (
        "MODEL/model.safetensors is a pickle, which could run code when read; only safetensors files are read"
    )
    assert not (tmp_path / "ran").exists()


def test_other_files_of_the_folder_are_never_opened(saved: Path, tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "optimizer.pt", "assets/text.adapter/vocabulary.pkl", "assets/extra.pickle"):
        (saved / name).write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    for name in ("setup.py", "plugin.py", "sitecustomize.py", "assets/text.adapter/modeling.py"):
        (saved / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert mmkit.load(saved).predict("mood", {"text": "a"})
    assert not (tmp_path / "ran").exists()


def test_a_model_that_needs_absent_plugins_says_what_to_install(saved: Path) -> None:
    def edit(lock: Any) -> None:
        lock["plugins"]["ecg"] = {"distribution": "mmkit-ecg", "version": "2.1"}
        lock["plugins"]["text"]["version"] = "9.0.0"

    change(saved, "plugins.json", edit)
    assert refusal(saved, verify=True) == (
        "MODEL cannot be loaded:\n"
        "  plugin 'text' is 0.1.0, the model was made with 9.0.0: pip install mmkit-text==9.0.0\n"
        "  plugin 'ecg' is not installed: pip install mmkit-ecg==2.1"
    )


def test_a_model_made_with_a_plugin_that_now_fails_says_why(saved: Path, install: Callable[..., Path]) -> None:
    install("ecg", "raise ImportError('no module named wfdb')")
    change(
        saved, "plugins.json", lambda lock: lock["plugins"].update(ecg={"distribution": "mmkit-ecg", "version": "1.0"})
    )
    assert refusal(saved) == (
        "MODEL cannot be loaded:\n  plugin 'ecg' (mmkit-ecg 1.0) failed to load: ImportError: no module named wfdb"
    )


@pytest.mark.parametrize(
    "use",
    [
        "os:system",
        "subprocess/Popen",
        "evil.module:function",
        "../../plugin",
        "text/../tasks/classify",
        "builtins.eval",
    ],
)
def test_a_component_that_is_not_installed_cannot_be_named(saved: Path, use: str) -> None:
    change(saved, "spec.json", lambda spec: spec["backbone"].update(use=use))
    said = refusal(saved, verify=True)
    assert said.startswith(
        "MODEL/spec.json does not fit the installed plugins: the spec has 1 problem:\n"
        f"  backbone.use: unknown backbone {use!r}: "
    )


def test_an_option_that_the_component_does_not_have_is_refused(saved: Path) -> None:
    change(saved, "spec.json", lambda spec: spec["backbone"].update(builder="os:system"))
    assert refusal(saved) == (
        "MODEL/spec.json does not fit the installed plugins: the spec has 1 problem:\n"
        "  backbone.builder: unknown key 'builder': allowed: bidirectional, dropout, embedding_dim, hidden_dim, layers"
    )


def test_a_manifest_that_points_outside_its_folder_gives_nothing_away(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    change(saved, "manifest.json", lambda manifest: manifest["sha256"].update({"../secret": "0" * 64}))
    assert "secret" in refusal(saved, verify=True)


LLAMA = {"model_type": "llama", "vocab_size": 8, "hidden_size": 16, "intermediate_size": 24}
LLAMA |= {"num_hidden_layers": 1, "num_attention_heads": 2}
REMOTE = {"auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}}


@pytest.mark.parametrize("model_type", ["llama", "evil"])
def test_a_config_with_code_of_its_own_runs_none(tmp_path: Path, model_type: str) -> None:
    spec = {
        "mmkit": 1,
        "modalities": {"text": {"adapter": "characters"}},
        "backbone": {"use": "causal-lm", "config": LLAMA},
        "tasks": {"say": {"input": "{text}", "output": "{text}", "head": {"use": "generate", "max_new_tokens": 2}}},
    }
    folder = mmkit.build(spec, fit={"text": ["abc"]}).save(tmp_path / "model")
    assets = folder / "assets" / "backbone"
    (assets / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    change(folder, "assets/backbone/config.json", lambda config: config.update(REMOTE, model_type=model_type))
    if model_type == "llama":  # known to transformers: its own code is used
        assert mmkit.load(folder).predict("say", {"text": "a"}) is not None
    else:
        assert refusal(folder).startswith(
            "MODEL cannot be loaded: the architecture of MODEL/assets/backbone cannot be read: "
        )
    assert not (tmp_path / "ran").exists()


def test_a_folder_with_code_of_its_own_is_no_source_of_weights_either(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text(json.dumps({**REMOTE, "model_type": "evil"}))
    (source / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    (source / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    places = {
        "image": {"encoder": {"use": "hf-vision", "path": str(source)}},
        "audio": {"encoder": {"use": "hf-audio", "path": str(source)}},
        "text": {"encoder": {"use": "hf-text", "path": str(source), "vocabulary": {"use": "characters"}}},
    }
    head = {"use": "classify", "labels": ["x", "y"]}
    for name, modality in places.items():
        spec = {
            "mmkit": 1,
            "modalities": {name: modality},
            "tasks": {"t": {"input": f"{{{name}}}", "output": "{label}", "head": head}},
        }
        with pytest.raises(mmkit.PluginError, match="cannot be read"):
            mmkit.build(spec, fit={"text": ["a"]})
    spec = {
        "mmkit": 1,
        "modalities": {"text": {"adapter": "characters"}},
        "backbone": {"use": "causal-lm", "path": str(source)},
        "tasks": {"t": {"input": "{text}", "output": "{label}", "head": head}},
    }
    with pytest.raises(mmkit.PluginError, match="cannot be read"):
        mmkit.build(spec, fit={"text": ["a"]})
    (source / "config.json").write_text(json.dumps(LLAMA))
    with pytest.raises(mmkit.PluginError, match="the weights of .* cannot be read"):
        mmkit.build(spec, fit={"text": ["a"]})
    assert not (tmp_path / "ran").exists()


def test_a_chat_template_of_a_folder_is_never_run(tmp_path: Path) -> None:
    """One that never ends, and one that asks for ten thousand million letters: templates are those of the spec."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = {word: place for place, word in enumerate(["<unk>", "<s>", "</s>", "a", "fine", "film"])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    endless = "{% for a in range(10 ** 9) %}{{ 'x' * 10 ** 10 }}{% endfor %}"
    settings = {"chat_template": endless, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "chat_template.jinja").write_text(endless)
    spec = {
        "mmkit": 1,
        "modalities": {"text": {"adapter": {"use": "tokenizer", "path": str(tmp_path)}}},
        "backbone": {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8},
        "tasks": {"reply": {"input": "{text}", "output": "{text}", "head": {"use": "generate", "max_new_tokens": 3}}},
    }
    model = mmkit.build(spec, seed=0)
    model.save(tmp_path / "model")
    for some in (model, mmkit.load(tmp_path / "model")):
        assert isinstance(some.predict("reply", {"text": "a fine film"}), str)
