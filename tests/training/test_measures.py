"""Metrics and callbacks that a spec names beside the model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit

CODE = """
from transformers import TrainerCallback
from mmkit import Component, Config, hookimpl

class Options(Config):
    say: str = "share"

class Share:
    def __init__(self, say):
        self.say, self.hits, self.all = say, 0, 0

    def update(self, predictions, references):
        if self.say == "fail":
            raise KeyError("mood")
        self.hits += sum(p["label"] == "pos" for p in predictions)
        self.all += len(references)

    def compute(self):
        return {"text": "much"} if self.say == "text" else {self.say: self.hits / self.all}

def metric(context, say):
    return 3 if say == "number" else Share(say)

class Told(TrainerCallback):
    def __init__(self, say, context):
        self.say, self.context, self.seen = say, context, []

    def on_train_begin(self, args, state, control, **more):
        self.seen.append("begin")

    def on_step_end(self, args, state, control, **more):
        self.seen.append(state.global_step)
        if self.say == "stop" and state.global_step == 2:
            control.should_training_stop = True

    def on_train_end(self, args, state, control, **more):
        with open(self.context.output.parent / "told.txt", "a") as file:
            file.write(f"{self.context.first} {type(self.context.model).__name__} {self.seen}\\n")

def callback(context, say):
    return 3 if say == "number" else Told(say, context)

@hookimpl
def mmkit_components():
    return [Component("metric", "share", "A share.", "plug_lab:metric", "plug_lab:Options"),
            Component("callback", "told", "Is told.", "plug_lab:callback", "plug_lab:Options")]
"""


@pytest.fixture
def lab(install: Callable[..., Path], mood: dict[str, Any]) -> dict[str, Any]:
    install("lab", CODE)
    return mood


def test_a_metric_stands_beside_those_of_the_head(lab: dict[str, Any], train: Any) -> None:
    lab["tasks"]["mood"]["metrics"] = ["share", {"use": "lab/share", "say": "again"}]
    lab["data"]["valid"] = lab["data"]["test"]
    lab["train"]["keep_best"] = {"metric": "mood.again", "mode": "max"}
    result = mmkit.evaluate(train(lab))["mood"]
    share = sum(p["label"] == "pos" for p in result.predictions) / len(result.predictions)
    assert (result.metrics["share"], result.metrics["again"]) == (share, share)
    assert {"loss", "accuracy"} < set(result.metrics)
    assert any(line.startswith("kept: best mood.again so far") for line in train.said)


@pytest.mark.parametrize(
    ("say", "message"),
    [
        ("accuracy", "metric 'lab/share' gives 'accuracy', which task 'mood' has already; leave one of them out"),
        ("fail", "metric 'lab/share' fails: KeyError: 'mood'"),
        ("text", "metric 'lab/share' gives {'text': 'much'}, wanted are named numbers"),
        ("number", "metric 'lab/share' is a int, wanted is a Metric"),
    ],
)
def test_a_metric_that_cannot_be_used_is_named(lab: dict[str, Any], train: Any, say: str, message: str) -> None:
    lab["tasks"]["mood"]["metrics"] = [{"use": "share", "say": say}]
    with pytest.raises(mmkit.PluginError) as caught:
        mmkit.evaluate(train(lab))
    assert str(caught.value) == message


def test_a_callback_is_told_of_every_stage_and_can_end_one(lab: dict[str, Any], train: Any, tmp_path: Path) -> None:
    stage = {"steps": 4, "batch_size": 4}
    lab["train"] |= {"stages": [{"name": "one", **stage}, {"name": "two", **stage}], "save_every": 3}
    lab["train"]["callbacks"] = [{"use": "told", "say": "stop"}]
    train(lab)
    assert (tmp_path / "told.txt").read_text().splitlines() == [
        "True Model ['begin', 1, 2]",
        "True Model ['begin', 1, 2, 'begin', 1, 2]",
    ]
    ended = [line for line in train.said if "ended by a callback" in line]
    assert ended == [f"stage {name}: ended by a callback at step 2 of 4" for name in ("one", "two")]
    assert train.said[-1] == f"saved {tmp_path / 'model'}"
    train(lab, resume=True)
    assert train.said[-1] == f"this run is complete: {tmp_path / 'model'}"


def test_a_callback_that_only_watches_changes_nothing(lab: dict[str, Any], train: Any, tmp_path: Path) -> None:
    alone = train(lab, output=tmp_path / "a" / "model").state_dict()
    lab["train"]["callbacks"] = ["told"]
    watched = train(lab, output=tmp_path / "b" / "model").state_dict()
    assert all(value.equal(watched[name]) for name, value in alone.items())


def test_what_is_no_callback_is_named_before_the_training(lab: dict[str, Any], train: Any) -> None:
    lab["train"]["callbacks"] = [{"use": "told", "say": "number"}]
    with pytest.raises(mmkit.PluginError) as caught:
        train(lab)
    assert str(caught.value) == "callback 'lab/told' is a int, wanted is a TrainerCallback"
    assert not [line for line in train.said if line.startswith("stage")]


def test_every_problem_is_told_at_once(lab: dict[str, Any], problems: Any) -> None:
    lab["tasks"]["mood"]["metrics"] = [{"use": "share", "sy": 1}, "shar"]
    lab["train"]["callbacks"] = ["share"]
    assert problems(lab) == [
        "tasks.mood.metrics[0].sy: unknown key 'sy': did you mean 'say'?",
        "tasks.mood.metrics[1].use: unknown metric 'shar': did you mean 'share'?\n    fix: see `mmkit components`",
        "train.callbacks[0].use: 'share' is a metric, wanted here: callback\n    fix: see `mmkit components`",
    ]
