"""Metrics of generated values: judges, and the use of codes."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jiwer
import pytest
import torch

import mmkit
from mmkit import BuildContext, Codec, CodeLayout

LETTERS = "abcdefghijklmnopqrstuvwxyz "


class Pairs(Codec):
    """Two codebooks of four codes; a value is a list of pairs."""

    layout = CodeLayout(codes=4, codebooks=2, longest_frames=8)

    def quantize(self, raw: Any) -> torch.Tensor:
        if not raw:
            raise mmkit.SampleError("empty")
        return torch.tensor(raw)

    def restore(self, codes: torch.Tensor) -> Any:
        return codes.tolist()


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    """A model that classifies texts and copies them, trained on nothing."""
    lstm = {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8}
    tasks = {
        "sort": {"input": "{text}", "output": "{label}", "head": {"use": "classify", "labels": ["boot", "shirt"]}},
        "read": {"input": "{text}", "output": "{copy}", "head": {"use": "generate", "max_new_tokens": 4}},
        "rate": {"input": "{text}", "output": "{number}", "head": {"use": "regress"}},
        "both": {"input": "{text} {other}", "output": "{copy}", "head": {"use": "generate"}},
    }
    spec = {"mmkit": 1, "modalities": {"text": {"adapter": "characters"}}, "backbone": lstm, "tasks": tasks}
    return mmkit.build(spec, fit={"text": [LETTERS]}).save(tmp_path / "judge")


def said(judge: Path, task: str, texts: Sequence[str]) -> list[Any]:
    answers = mmkit.load(judge).predict(task, [{"text": text} for text in texts])
    return [answer["label"] if task == "sort" else answer for answer in answers]


TEXTS = ["a boot", "a shirt", "two boots", "b", "nothing at all"]


def test_a_judge_that_classifies_gives_the_accuracy_of_what_rows_asked_for(make: Any, judge: Path) -> None:
    labels = said(judge, "sort", TEXTS)
    asked = [f"a {label}" for label in labels]
    asked[0] = "a hat"
    metric = make("judged", model=judge, task="sort", wanted="caption", batch_size=2,
                  labels={"a boot": "boot", "a shirt": "shirt"})  # fmt: skip
    assert isinstance(metric, mmkit.RowMetric)
    assert metric.row_columns == ("caption",)
    metric.update(TEXTS, [None] * 5, [{"caption": caption} for caption in asked])
    assert metric.compute() == {"judged_accuracy": 0.8}
    plain = make("judged", model=judge, task="sort", name="class")
    plain.update(TEXTS, labels, [{}] * 5)
    assert plain.compute() == {"class_accuracy": 1.0}
    assert plain.row_columns == ()
    assert make("judged", model=judge, task="sort").compute() == {}


def test_a_judge_that_writes_gives_error_rates_of_the_round_trip(make: Any, judge: Path) -> None:
    heard, wanted = said(judge, "read", TEXTS), ["a boot", "shirt", "two", "b", "x"]
    metric = make("judged", model=judge, task="read", wanted="text")
    metric.update(TEXTS, [None] * 5, [{"text": text} for text in wanted])
    figures = metric.compute()
    assert figures["judged_wer"] == pytest.approx(jiwer.wer(wanted, heard))
    assert figures["judged_cer"] == pytest.approx(jiwer.cer(wanted, heard))
    assert set(figures) == {"judged_wer", "judged_cer", "judged_exact"}


def test_what_the_judge_cannot_read_counts_as_wrong_and_is_counted(make: Any, judge: Path) -> None:
    labels = said(judge, "sort", TEXTS[:2])
    metric = make("judged", model=judge, task="sort")
    metric.update([TEXTS[0], 3, TEXTS[1]], [labels[0], "boot", labels[1]], [{}] * 3)
    assert metric.compute() == {"judged_accuracy": pytest.approx(2 / 3), "judged_unreadable": 1}
    reads = make("judged", model=judge, task="read")
    reads.update([None, 3], ["a b", "c"], [{}] * 2)
    figures = {"judged_wer": 1, "judged_cer": 1, "judged_exact": 0, "judged_unreadable": 2}
    assert reads.compute() == figures


def test_the_judge_is_loaded_once_and_again_when_it_is_written_anew(make: Any, judge: Path) -> None:
    first = make("judged", model=judge, task="sort").model
    assert make("judged", model=judge, task="read").model is first
    assert not first.training
    mmkit.load(judge).save(judge)
    assert make("judged", model=judge, task="sort").model is not first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "metric 'judged': the model in {judge} has the tasks sort, read, rate, both: say task with one of them"),
        ({"task": "sord"}, "metric 'judged': the model in {judge} has no task 'sord': did you mean 'sort'?"),
        (
            {"task": "both"},
            "metric 'judged': task 'both' of {judge} has the columns text, other: say column with one of them",
        ),
        (
            {"task": "sort", "column": "sound"},
            "metric 'judged': task 'sort' of {judge} has no column 'sound': allowed: text",
        ),
    ],
)
def test_a_judge_that_cannot_be_asked_is_said(make: Any, judge: Path, options: Any, message: str) -> None:
    with pytest.raises(mmkit.PluginError) as caught:
        make("judged", model=judge, **options)
    assert str(caught.value) == message.format(judge=judge)


def test_a_judge_that_gives_numbers_is_refused(make: Any, judge: Path, tmp_path: Path) -> None:
    metric = make("judged", model=judge, task="rate")
    with pytest.raises(mmkit.PluginError) as caught:
        metric.update(["a"], [1.0], [{}])
    assert str(caught.value) == ("metric 'judged': task 'rate' of the judge gives a float, wanted is one label or text")
    with pytest.raises(mmkit.CheckpointError, match="is not a saved mmkit model"):
        make("judged", model=tmp_path)


def test_an_evaluation_is_judged_by_what_its_rows_asked_for(judge: Path, tmp_path: Path, make: Any) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a boot", "kind": "boot"}\n{"text": "a shirt", "kind": "boot"}\n')
    metrics = [{"use": "judged", "model": "judge", "task": "sort", "wanted": "kind"}]
    spec = {
        "mmkit": 1,
        "modalities": {"text": {"adapter": "characters"}},
        "backbone": {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8},
        "tasks": {"say": {"input": "{text}", "output": "{text}", "head": {"use": "generate"}, "metrics": metrics}},
        "data": {"test": [{"task": "say", "path": "rows.jsonl"}]},
    }  # fmt: skip
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    result = mmkit.evaluate(mmkit.build(tmp_path / "spec.yaml", fit={"text": [LETTERS]}))["say"]
    labels = said(judge, "sort", result.predictions)
    assert result.metrics["judged_accuracy"] == labels.count("boot") / 2


def test_the_use_of_codes_is_counted_by_codebook(make: Any) -> None:
    metric = make("codebook-use", BuildContext(vocabulary=Pairs()))
    metric.update([[[0, 1], [0, 2]], [[0, 3], [1, 0]]], [[[3, 3]], []])
    three = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert metric.compute() == pytest.approx(
        {
            "codes_used": (2 / 4 + 4 / 4) / 2,
            "code_perplexity": (three + 4) / 2,
            "reference_codes_used": 1 / 4,
            "reference_code_perplexity": 1,
        }
    )


def test_any_vocabulary_has_codes_and_references_may_be_missing(make: Any, characters: Any) -> None:
    metric = make("codebook-use", BuildContext(vocabulary=characters))
    metric.update(["abc", "aab"], [None, None])
    assert metric.compute()["codes_used"] == 3 / 27
    assert set(metric.compute()) == {"codes_used", "code_perplexity"}
    assert make("codebook-use", BuildContext(vocabulary=characters)).compute() == {}
    with pytest.raises(mmkit.PluginError, match="the task's output column is not of a vocabulary modality"):
        make("codebook-use", BuildContext())
