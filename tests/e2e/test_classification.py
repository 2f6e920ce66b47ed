"""Text → LSTM → label, through build, train, evaluate, save, load and predict."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import mmkit

GOOD = ["a fine warm film", "wonderful and moving", "great acting, great fun", "a joy from start to end"]
BAD = ["a dull cold film", "boring and empty", "awful acting, no fun", "a bore from start to end"]


@pytest.fixture
def spec(tmp_path: Path) -> dict[str, Any]:
    rows = [{"text": t, "label": "pos"} for t in GOOD] + [{"text": t, "label": "neg"} for t in BAD]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    source = {"task": "mood", "path": str(tmp_path / "rows.jsonl")}
    return {
        "mmkit": 1,
        "modalities": {"text": {"adapter": {"use": "words", "vocab_size": 100}}},
        "backbone": {"use": "lstm", "embedding_dim": 16, "hidden_dim": 16},
        "tasks": {
            "mood": {
                "input": "{text}",
                "output": "{label}",
                "head": {"use": "classify", "labels": ["neg", "pos"], "binary": True, "pool": "last"},
            }
        },
        "data": {"train": [source], "test": [source]},
        "train": {"stages": [{"name": "all", "steps": 40, "batch_size": 8, "lr": 0.02}]},
    }


def test_trained_model_fits_its_rows_and_survives_a_round_trip(spec: dict[str, Any], tmp_path: Path) -> None:
    model = mmkit.train(spec, output=tmp_path / "model", say=lambda line: None)
    result = mmkit.evaluate(model)["mood"]
    assert result.metrics["accuracy"] == 1.0
    rows = [{"text": text} for text in GOOD + BAD]
    again = mmkit.load(tmp_path / "model", verify=True)
    assert again.predict("mood", rows) == model.predict("mood", rows)


def test_packed_equals_alone(spec: dict[str, Any]) -> None:
    model = mmkit.build(spec, fit={"text": GOOD + BAD})
    rows = [{"text": text} for text in GOOD + BAD]
    together = model.predict("mood", rows)
    for row, expected in zip(rows, together, strict=True):
        alone = model.predict("mood", row)["probabilities"]["pos"]
        assert alone == pytest.approx(expected["probabilities"]["pos"], abs=1e-6)


def test_damaged_weights_are_refused_by_name(spec: dict[str, Any], tmp_path: Path) -> None:
    folder = mmkit.build(spec, fit={"text": GOOD}).save(tmp_path / "model")
    weights = folder / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(mmkit.CheckpointError) as caught:
        mmkit.load(folder, verify=True)
    assert str(caught.value) == (
        f"{weights} is damaged: its SHA-256 is not that of the manifest; restore it from a copy"
    )


def test_unknown_label_stops_with_the_rows_address(spec: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "fine", "label": "poss"}\n{"text": "fine", "label": "pos"}\n')
    with pytest.raises(mmkit.DataError) as caught:
        mmkit.train(spec, output=tmp_path / "model", say=lambda line: None)
    assert str(caught.value) == (
        f"{tmp_path / 'rows.jsonl'}:1: label 'poss' is not in the head's labels; did you mean 'pos'? "
        "(data.on_bad_sample: skip would leave such rows out)"
    )
    assert not (tmp_path / "model" / "manifest.json").exists()


def test_accumulation_gives_the_gradient_of_one_large_batch(spec: dict[str, Any], tmp_path: Path) -> None:
    weights = []
    for size, passes in ((8, 1), (2, 4)):
        spec["train"] = {"stages": [{"name": "a", "steps": 1, "batch_size": size, "accumulate": passes}]}
        model = mmkit.train(spec, output=tmp_path / f"m{size}", say=lambda line: None)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], atol=1e-6, rtol=0)
