"""Metrics that want more of a row than its output column."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import mmkit
from mmkit.training.validation import mode_of
from tests import small_codecs

CODE = """
from mmkit import Component, Config, hookimpl

class Options(Config):
    column: str = "text"

class Told:
    def __init__(self, column):
        self.row_columns = (column,)
        self.rows = []

    def update(self, predictions, references, rows):
        assert len(predictions) == len(references) == len(rows)
        self.rows += rows

    def compute(self):
        values = [row[column] for row in self.rows for column in self.row_columns]
        if all(isinstance(value, str) for value in values):
            return {"length": sum(map(len, values)) / len(values)}
        return {"files": sum(value.is_file() for value in values)}

def told(context, column):
    return Told(column)

@hookimpl
def mmkit_components():
    return [Component("metric", "told", "What it was told.", "plug_rows:told", "plug_rows:Options")]
"""


@pytest.fixture
def told(install: Callable[..., Path], mood: dict[str, Any]) -> dict[str, Any]:
    install("rows", CODE)
    mood["tasks"]["mood"]["metrics"] = ["told"]
    return mood


def test_a_metric_is_given_the_columns_that_it_wants(told: dict[str, Any], train: Any) -> None:
    model = train(told)
    length = (len("a fine warm film") + len("a dull cold film")) / 2
    assert mmkit.evaluate(model)["mood"].metrics["length"] == length
    told["data"]["test"] = [{**told["data"]["test"][0], "streaming": True}] * 2
    assert mmkit.evaluate(train(told))["mood"].metrics["length"] == length
    assert "length" not in mmkit.evaluate(train(told))["mood"].references


def test_a_column_that_the_rows_lack_is_said_before_anything_is_predicted(told: dict[str, Any], train: Any) -> None:
    told["tasks"]["mood"]["metrics"] = [{"use": "told", "column": "txt"}]
    model = train(told)
    seen: list[Any] = []
    with pytest.raises(mmkit.DataError) as caught:
        mmkit.evaluate(model, step=lambda *step: seen.append(step))
    rows = told["data"]["test"][0]["path"]
    assert str(caught.value) == (
        f"metric 'rows/told' needs column 'txt', which {rows} does not have: did you mean 'text'?"
    )
    assert not seen


def test_a_row_without_the_column_is_a_bad_row(
    told: dict[str, Any], train: Any, write_rows: Callable[..., Path]
) -> None:
    told["tasks"]["mood"]["metrics"] = [{"use": "told", "column": "note"}]
    rows = [{"text": "a", "label": "pos", "note": "four"}, {"text": "b", "label": "neg", "note": None}]
    told["data"]["test"] = [{"task": "mood", "path": str(write_rows(rows, "test.jsonl"))}]
    told["data"] |= {"on_bad_sample": "skip", "max_bad": 0.5}
    metrics = mmkit.evaluate(train(told))["mood"].metrics
    assert (metrics["length"], metrics["bad_rows"]) == (4, 1)


def test_paths_of_media_are_resolved_and_stay_in_the_data_folder(
    install: Callable[..., Path], tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    install("rows", CODE)
    install("lab", small_codecs.CODE)
    (tmp_path / "data").mkdir()
    Image.new("L", (4, 4), 200).save(tmp_path / "data" / "light.png")
    source = {"task": "draw", "path": str(write_rows([{"text": "light", "picture": "light.png"}], "data/rows.jsonl"))}
    spec = {**small_codecs.SPEC, "data": {"test": [source]}}
    spec["tasks"] = {"draw": {**spec["tasks"]["draw"], "metrics": [{"use": "told", "column": "picture"}]}}
    model = mmkit.build(spec, fit={"text": ["light"]})
    result = mmkit.evaluate(model)["draw"]
    assert result.references == [tmp_path / "data" / "light.png"]
    assert result.metrics["files"] == 1
    write_rows([{"text": "light", "picture": "../light.png"}], "data/rows.jsonl")
    with pytest.raises(mmkit.DataError, match=r"column 'picture': '../light.png' leaves the data folder"):
        mmkit.evaluate(model)


def test_less_of_a_rate_or_a_distance_is_better() -> None:
    lower = ["wer", "draw.judged_wer", "draw.frechet_distance", "say.mcd", "say.mel_distance", "loss"]
    assert {mode_of(name, None) for name in lower} == {"min"}
    assert {mode_of(name, None) for name in ("draw.judged_accuracy", "psnr", "code_perplexity.x")} == {"max"}
    assert mode_of("draw.judged_wer", "max") == "max"
