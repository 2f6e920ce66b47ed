"""Stages as data: what trains, at which rate, and what is refused before anything is trained."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import mmkit


@pytest.fixture
def spec(spec: dict[str, Any]) -> dict[str, Any]:
    spec["train"] |= {
        "save_every": None,
        "stages": [{"name": "all", "steps": 2, "batch_size": 8, "warmup": 0.0, "schedule": "constant"}],
    }
    return spec


def sources(spec: dict[str, Any]) -> list[list[dict[str, Any]]]:
    return [[json.loads(line) for line in Path(s["path"]).read_text().splitlines()] for s in spec["data"]["train"]]


def trained(spec: dict[str, Any], output: Path, said: list[str] | None = None) -> mmkit.Model:
    return mmkit.train(spec, output=output, say=(lambda line: None) if said is None else said.append)


def problems(spec: dict[str, Any], tmp_path: Path) -> list[str]:
    with pytest.raises(mmkit.SpecError) as caught:
        trained(spec, tmp_path / "model")
    return [str(problem) for problem in caught.value.problems]


def test_every_glob_has_its_rate_and_the_last_one_wins(spec: dict[str, Any], tmp_path: Path) -> None:
    said: list[str] = []
    spec["train"]["stages"][0]["lr"] = {"*": 0.1, "backbone": 1e-3, "backbone.*.feed_forward*": 1e-6}
    before = mmkit.build(spec, fit={"text": [str(v) for rows in sources(spec) for row in rows for v in row.values()]})
    model = trained(spec, tmp_path / "model", said)
    assert "  backbone           3,744 /         3,744  lr 1e-06 … 0.001" in said
    assert "  mood.head             34 /            34  lr 0.1" in said
    moved = {
        name: float((a - b).detach().abs().max())
        for (name, a), b in zip(model.named_parameters(), before.parameters(), strict=True)
    }
    assert 0.05 < moved["heads.mood.output.weight"] < 0.3  # Adam moves by about the rate in a step
    assert 5e-4 < moved["backbones.backbone.encoder.0.attention.query.weight"] < 3e-3
    assert moved["backbones.backbone.encoder.0.feed_forward.gate.weight"] < 3e-6


def test_what_no_glob_names_stays_frozen(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["train"]["stages"] = [
        {"name": "a", "steps": 1, "train": ["mood.head"]},
        {"name": "b", "steps": 1, "train": ["backbone.encoder*"]},
    ]
    trained(spec, tmp_path / "model")
    first = mmkit.load(tmp_path / "model" / "checkpoints" / "stage01-step00000000").state_dict()
    last = mmkit.load(tmp_path / "model").state_dict()
    changed = {name for name in first if not torch.equal(first[name], last[name])}
    assert changed
    assert all(name.startswith("backbones.backbone.encoder") for name in changed)


def test_stage_that_trains_nothing_is_refused(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["tasks"]["idle"] = {**spec["tasks"]["mood"]}
    spec["train"]["stages"].append({"name": "b", "steps": 1, "train": ["idle.head"]})
    assert problems(spec, tmp_path) == [
        "train.stages[1].train: the stage trains nothing: its globs match idle.head, which no task with data uses\n"
        "    fix: name nodes that the tasks of data.train use: backbone, mood.head"
    ]


def test_node_that_trains_without_data_is_marked_in_the_table(spec: dict[str, Any], tmp_path: Path) -> None:
    said: list[str] = []
    spec["tasks"]["idle"] = {**spec["tasks"]["mood"]}
    trained(spec, tmp_path / "model", said)
    assert any(line.startswith("  idle.head") and line.endswith("(no task with data uses it)") for line in said)


def test_epochs_over_a_stream_are_refused(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["train"]["stages"] = [{"name": "a", "epochs": 1}]
    spec["data"]["train"][0]["streaming"] = True
    assert problems(spec, tmp_path) == [
        "train.stages[0].epochs: epochs cannot be counted over a streaming source\n    fix: give steps instead"
    ]


@pytest.mark.parametrize("lr", [0, -1.0, {"*": 0}])
def test_rates_are_above_zero(spec: dict[str, Any], tmp_path: Path, lr: Any) -> None:
    spec["train"]["stages"][0]["lr"] = lr
    assert any("greater than 0" in problem for problem in problems(spec, tmp_path))
