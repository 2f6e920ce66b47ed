"""What a user can get wrong, and the whole message that says so."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import mmkit
from mmkit.spec.schema import Stage

ROWS = [{"text": "a fine warm film", "label": "pos"}, {"text": "a dull cold film", "label": "neg"}]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def spec(tmp_path: Path) -> dict[str, Any]:
    source = {"task": "mood", "path": str(write_rows(tmp_path / "rows.jsonl", ROWS * 4))}
    return {
        "mmkit": 1,
        "modalities": {"text": {"adapter": {"use": "words", "vocab_size": 50}}},
        "backbone": {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8},
        "tasks": {
            "mood": {"input": "{text}", "output": "{label}", "head": {"use": "classify", "labels": ["neg", "pos"]}}
        },
        "data": {"train": [source], "test": [source]},
        "train": {"stages": [{"name": "all", "steps": 2, "batch_size": 4}]},
    }


def problems(spec: dict[str, Any]) -> list[str]:
    with pytest.raises(mmkit.SpecError) as caught:
        mmkit.check(spec)
    return [str(problem) for problem in caught.value.problems]


def test_unknown_keys_at_every_level_are_named_at_once(spec: dict[str, Any]) -> None:
    spec["modalities"]["text"]["adaptr"] = {}
    spec["tasks"]["mood"]["imput"] = "x"
    spec["train"]["stages"][0]["freeze"] = "x"
    assert problems(spec) == [
        "modalities.text.adaptr: unknown key 'adaptr': did you mean 'adapter'?",
        "tasks.mood.imput: unknown key 'imput': did you mean 'input'?",
        f"train.stages[0].freeze: unknown key 'freeze': allowed: {', '.join(sorted(Stage.model_fields))}",
    ]


def test_unknown_component_option_names_the_nearest(spec: dict[str, Any]) -> None:
    spec["backbone"]["embeding_dim"] = 3
    spec["modalities"]["text"]["adapter"]["use"] = "word"
    assert problems(spec) == [
        "modalities.text.adapter.use: unknown vocabulary or continuous adapter 'word': did you mean 'words'?\n"
        "    fix: see `mmkit components`",
        "backbone.embeding_dim: unknown key 'embeding_dim': did you mean 'embedding_dim'?",
    ]


def test_head_that_reads_a_missing_node(spec: dict[str, Any]) -> None:
    spec["tasks"]["mood"]["reads"] = "backbon"
    assert problems(spec) == ["tasks.mood.reads[0]: there is no node 'backbon': did you mean 'backbone'?"]


def test_generate_on_a_backbone_that_cannot(spec: dict[str, Any]) -> None:
    spec["backbone"] = {"use": "none", "dim": 8}
    spec["tasks"]["mood"] = {"input": "{text}", "output": "{label}", "head": "generate"}
    assert problems(spec) == [
        "tasks.mood.head: head 'generate' needs a backbone that generates; 'none' does not\n"
        "    fix: use one of: causal-lm, lstm, seq2seq-lm, transformer"
    ]


def test_stage_glob_that_matches_nothing(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["train"]["stages"][0]["train"] = ["backbne"]
    with pytest.raises(mmkit.SpecError) as caught:
        mmkit.train(spec, output=tmp_path / "model", say=lambda line: None)
    assert str(caught.value) == (
        "the spec has 1 problem:\n  train.stages[0].train[0]: 'backbne' matches no parameter: did you mean 'backbone'?"
    )


def test_template_that_names_a_column_the_data_lacks(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["tasks"]["mood"]["input"] = "{txt}"
    with pytest.raises(mmkit.DataError) as caught:
        mmkit.train(spec, output=tmp_path / "model", say=lambda line: None)
    assert str(caught.value) == (
        f"task 'mood' needs column 'txt', which {tmp_path / 'rows.jsonl'} does not have: did you mean 'text'?"
    )


@pytest.mark.parametrize("name", ["rows.jsonl", "none.jsonl", "rows.xyz"])
def test_data_that_cannot_be_read(spec: dict[str, Any], tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name != "none.jsonl":
        path.write_text("" if name == "rows.jsonl" else "x")
    spec["data"]["train"][0]["path"] = str(path)
    with pytest.raises(mmkit.DataError) as caught:
        mmkit.train(spec, output=tmp_path / "model", say=lambda line: None)
    assert (
        str(caught.value)
        == {
            "rows.jsonl": f"{path} has no rows",
            "none.jsonl": f"no file matches {path}",
            "rows.xyz": f"{path} is not a known format: allowed: .csv, .json, .jsonl, .parquet, .tsv",
        }[name]
    )


def test_bad_rows_are_counted_named_and_skipped_under_the_limit(spec: dict[str, Any], tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [*ROWS * 4, {"text": None, "label": "pos"}, {"text": "x", "label": "bad"}])
    spec["data"] |= {"on_bad_sample": "skip", "max_bad": 0.5}
    said: list[str] = []
    model = mmkit.train(spec, output=tmp_path / "model", say=said.append)
    result = mmkit.evaluate(model)["mood"]
    assert result.metrics["bad_rows"] == 2
    assert len(result.predictions) == 8
    spec["data"]["on_bad_sample"] = "raise"
    with pytest.raises(mmkit.DataError, match=r"rows\.jsonl:(9: column 'text' is empty|10: label 'bad')"):
        mmkit.evaluate(mmkit.build(spec, fit={"text": ["a film"]}))


def test_too_many_bad_rows_stop_the_run(spec: dict[str, Any], tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [{"text": "x", "label": "bad"}])
    spec["data"] |= {"on_bad_sample": "skip", "max_bad": 0.01}
    with pytest.raises(mmkit.DataError) as caught:
        mmkit.train(spec, output=tmp_path / "model", say=lambda line: None)
    place = f"{tmp_path / 'rows.jsonl'}:1: label <label, 3 characters> is not in the head's labels; listed: neg, pos"
    assert str(caught.value) == (
        f"4 of 4 rows could not be used ({place}; {place}; {place}); more than data.max_bad = 1.0% allows"
    )


def test_nan_loss_names_samples_and_keeps_the_saved_model(spec: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    mmkit.train(spec, output=folder, say=lambda line: None)
    before = (folder / "model.safetensors").read_bytes()
    spec["train"]["stages"][0] |= {"lr": 1e30, "clip": 1e30, "steps": 8, "schedule": "constant", "warmup": 0.0}
    with pytest.raises(mmkit.TrainingError) as caught:
        mmkit.train(spec, output=folder, say=lambda line: None)
    assert "the loss of task mood is " in str(caught.value)
    assert f"samples: {tmp_path / 'rows.jsonl'}:" in str(caught.value)
    assert (folder / "model.safetensors").read_bytes() == before


def test_missing_and_changed_plugins_are_named(spec: dict[str, Any], tmp_path: Path) -> None:
    folder = mmkit.build(spec, fit={"text": ["a"]}).save(tmp_path / "model")
    lock = json.loads((folder / "plugins.json").read_text())
    lock["plugins"]["ecg"] = {"distribution": "mmkit-ecg", "version": "2.1"}
    lock["plugins"]["text"]["version"] = "9.0.0"
    (folder / "plugins.json").write_text(json.dumps(lock))
    with pytest.raises(mmkit.CheckpointError) as caught:
        mmkit.load(folder)
    assert str(caught.value) == (
        f"{folder} cannot be loaded:\n"
        "  plugin 'text' is 0.1.0, the model was made with 9.0.0: pip install mmkit-text==9.0.0\n"
        "  plugin 'ecg' is not installed: pip install mmkit-ecg==2.1"
    )


def test_foreign_and_incomplete_folders_are_refused(spec: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(mmkit.CheckpointError) as caught:
        mmkit.load(tmp_path)
    assert str(caught.value) == f"{tmp_path} is not a saved mmkit model: it has no manifest.json"
    folder = mmkit.build(spec, fit={"text": ["a"]}).save(tmp_path / "model")
    shutil.rmtree(folder / "assets" / "text.adapter")
    with pytest.raises(mmkit.CheckpointError) as caught:
        mmkit.load(folder)
    assert str(caught.value) == f"{folder} is incomplete: assets/text.adapter/words.json is missing"


def test_huge_safetensors_header_is_refused(spec: dict[str, Any], tmp_path: Path) -> None:
    folder = mmkit.build(spec, fit={"text": ["a"]}).save(tmp_path / "model")
    raw = (9 * 1024 * 1024).to_bytes(8, "little") + b"{" + b" " * 100
    (folder / "model.safetensors").write_bytes(raw)
    with pytest.raises(mmkit.CheckpointError) as caught:
        mmkit.load(folder)
    assert str(caught.value) == (
        f"{folder / 'model.safetensors'} has a header of 9,437,184 bytes; at most 8,388,608 are read"
    )


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_empty_text_gives_a_defined_result(spec: dict[str, Any], text: str) -> None:
    model = mmkit.build(spec, fit={"text": ["a fine film"]})
    answer = model.predict("mood", {"text": text})
    assert answer["label"] in ("neg", "pos")
    assert model.predict("mood", [{"text": text}, {"text": "a film"}])[0]["probabilities"] == pytest.approx(
        answer["probabilities"], abs=1e-6
    )


def test_wrong_types_and_missing_columns_are_named(spec: dict[str, Any]) -> None:
    model = mmkit.build(spec, fit={"text": ["a fine film"]})
    with pytest.raises(mmkit.SampleError) as caught:
        model.predict("mood", {"text": 3})
    assert str(caught.value) == "column 'text': text must be a str, got int"
    with pytest.raises(mmkit.SampleError) as caught:
        model.predict("mood", {"txt": "a"})
    assert str(caught.value) == "there is no column 'text'; the row has: txt"
    with pytest.raises(mmkit.MmkitError) as error:
        model.predict("moood", {"text": "a"})
    assert str(error.value) == "there is no task 'moood': did you mean 'mood'?"


def test_saved_model_predicts_bit_for_bit(spec: dict[str, Any], tmp_path: Path) -> None:
    model = mmkit.train(spec, output=tmp_path / "model", say=lambda line: None)
    again = mmkit.load(tmp_path / "model")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert mmkit.evaluate(again)["mood"].predictions == mmkit.evaluate(model)["mood"].predictions
