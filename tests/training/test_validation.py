"""data.valid while training: figures at the right steps, the best model kept, and no loss changed by it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit
from mmkit.training.validation import Validation

Run = Callable[..., Any]


@pytest.fixture
def spec(spec: dict[str, Any]) -> dict[str, Any]:
    rows = spec["data"]["train"]
    spec["data"]["valid"] = [{"task": "mood", "path": rows[1]["path"]}, {"task": "swap", "path": rows[1]["path"]}]
    spec["train"] |= {"save_every": None, "eval_limit": 6, "eval_every": 2}
    spec["train"]["stages"] = [{"name": "all", "steps": 5, "batch_size": 4, "lr": 0.01}]
    return spec


def quiet(line: str) -> None:
    pass


def test_figures_come_every_so_many_steps_and_at_the_end(spec: dict[str, Any], tmp_path: Path) -> None:
    seen: dict[int, dict[str, float]] = {}

    def step(stage: str, at: int, of: int, figures: dict[str, float]) -> None:
        if "eval_mood_loss" in figures:
            seen[at] = figures

    said: list[str] = []
    mmkit.train(spec, output=tmp_path / "model", say=said.append, step=step)
    assert list(seen) == [2, 4, 5]
    assert {"eval_mood_loss", "eval_mood_accuracy", "eval_swap_loss", "eval_swap_exact"} <= seen[5].keys()
    results = mmkit.evaluate(tmp_path / "model", "valid", limit=6)
    assert seen[5]["eval_mood_loss"] == results["mood"].metrics["loss"]
    assert seen[5]["eval_mood_accuracy"] == results["mood"].metrics["accuracy"]
    assert any(line.startswith("stage all  step 4  valid: mood.loss ") for line in said)


def test_without_eval_every_figures_come_at_the_end_of_each_stage(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["train"]["eval_every"] = None
    spec["train"]["stages"].append({"name": "more", "steps": 2, "batch_size": 4})
    seen: list[tuple[str, int]] = []

    def step(stage: str, at: int, of: int, figures: dict[str, float]) -> None:
        seen.extend([(stage, at)] if "eval_mood_loss" in figures else [])

    mmkit.train(spec, output=tmp_path / "model", say=quiet, step=step)
    assert seen == [("all", 5), ("more", 2)]


def test_evaluating_changes_no_loss(spec: dict[str, Any], run: Run, tmp_path: Path) -> None:
    looked = run(spec, tmp_path / "looked")
    del spec["data"]["valid"], spec["train"]["eval_every"], spec["train"]["eval_limit"]
    assert run(spec, tmp_path / "blind").losses == looked.losses


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_best_model_is_kept_and_returned(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    values = iter([0.0, 0.5, 0.7, 0.6] if mode == "max" else [0.0, 0.5, 0.3, 0.4])  # the first is the rehearsal's
    figures = Validation._figures

    def chosen(self: Any, limit: int | None) -> dict[tuple[str, str], float]:
        return {**figures(self, limit), ("mood", "score"): next(values)}

    monkeypatch.setattr(Validation, "_figures", chosen)
    spec["train"] |= {"keep_best": {"metric": "mood.score", "mode": mode}, "save_every": 4}
    said: list[str] = []
    model = mmkit.train(spec, output=tmp_path / "model", say=said.append)
    assert said[-1] == "the model is that of stage all, step 4"
    at_four = mmkit.load(tmp_path / "model" / "checkpoints" / "stage00-step00000004").state_dict()
    kept = mmkit.load(tmp_path / "model").state_dict()
    assert all((kept[name] == value).all() for name, value in at_four.items())
    assert all((model.state_dict()[name] == value).all() for name, value in at_four.items())


def test_best_so_far_is_remembered_over_a_crash(spec: dict[str, Any], run: Run, tmp_path: Path) -> None:
    spec["train"] |= {"keep_best": "mood.loss", "save_every": 1}
    whole = run(spec, tmp_path / "whole")
    killed = run(spec, tmp_path / "model", kill=("all", 4))
    again = run(spec, tmp_path / "model", resume=True)
    assert again.status == 0, again.error
    assert {**killed.losses, **again.losses} == whole.losses
    assert again.said[-1] == whole.said[-1]
    assert again.said[-1].startswith("the model is that of stage all, step ")
    one, other = (tmp_path / name / "model.safetensors" for name in ("whole", "model"))
    assert one.read_bytes() == other.read_bytes()


def test_adapters_are_saved_merged_in_the_middle_of_their_training(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["train"] |= {"keep_best": "loss"}
    spec["train"]["stages"][0]["lora"] = {"r": 2}
    model = mmkit.train(spec, output=tmp_path / "model", say=quiet)
    assert not model.lora
    assert not [name for name in model.state_dict() if "lora" in name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"keep_best": "mood.acuracy"},
            "train.keep_best: there is no metric 'mood.acuracy' on data.valid: did you mean 'mood.accuracy'?",
        ),
        (
            {"keep_best": "mood.loss", "valid": []},
            "train.keep_best: keep_best needs rows to evaluate on, and the spec names no data.valid\n"
            "    fix: add data: {valid: [{task: …, path: …}]}",
        ),
    ],
)
def test_wrong_metric_is_told_before_training(
    spec: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    spec["data"]["valid"] = change.pop("valid", spec["data"]["valid"])
    spec["train"] |= change
    with pytest.raises(mmkit.SpecError) as caught:
        mmkit.train(spec, output=tmp_path / "model", say=quiet)
    assert [str(problem) for problem in caught.value.problems] == [message]
    assert not (tmp_path / "model").exists()
