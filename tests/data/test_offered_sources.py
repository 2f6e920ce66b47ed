"""Rows that a plugin gives: indexed and streamed, trained on as from a file, named where they cannot be used."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit
from mmkit.data.loading import loader
from mmkit.data.sources import open_all
from mmkit.discovery.loader import discover
from mmkit.wiring.planner import plan

CODE = """
import datasets
from mmkit import Component, Config, SampleError, hookimpl

ROWS = [{"text": "a fine warm film", "label": "pos"}, {"text": "a dull cold film", "label": "neg"}] * 4

class Options(Config):
    form: str = "list"

class Bad(list):
    def __getitem__(self, index):
        if index == 3:
            raise SampleError("no text in row 3")
        if index == 5 and self.worse:
            raise KeyError("text")
        return super().__getitem__(index)

class Each:
    def __iter__(self):
        return iter(ROWS)

def build(context, form):
    if form == "list":
        return ROWS
    if form in ("bad", "worse"):
        rows = Bad(ROWS)
        rows.worse = form == "worse"
        return rows
    made = {"each": Each, "dataset": lambda: datasets.Dataset.from_list(ROWS), "once": lambda: iter(ROWS),
            "number": lambda: 3, "empty": list, "texts": lambda: ["a"] * 8, "context": lambda: [vars(context)]}
    return made[form]()

@hookimpl
def mmkit_components():
    return [Component("source", "rows", "Rows.", "plug_rows:build", "plug_rows:Options")]
"""


@pytest.fixture
def spec(install: Callable[..., Path], mood: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    install("rows", CODE)

    def make(form: str, **fields: Any) -> dict[str, Any]:
        given = {"task": "mood", "source": {"use": "rows", "form": form}, **fields}
        return {**mood, "data": {"train": [given], "test": [given]}}

    return make


@pytest.mark.parametrize(
    ("form", "streaming"), [("list", False), ("dataset", False), ("each", True), ("dataset", True)]
)
def test_the_model_is_the_same_as_from_a_file(
    spec: Any, mood: dict[str, Any], train: Any, tmp_path: Path, form: str, streaming: bool
) -> None:
    mood["data"]["train"][0]["streaming"] = streaming
    from_file = train(mood, output=tmp_path / "file").state_dict()
    offered = train(spec(form, streaming=streaming), output=tmp_path / "offered").state_dict()
    assert all(value.equal(offered[name]) for name, value in from_file.items())
    results = [mmkit.evaluate(tmp_path / name)["mood"] for name in ("offered", "file")]
    assert results[0].metrics == results[1].metrics
    assert results[0].predictions == results[1].predictions


def test_rows_can_be_limited_and_renamed_and_go_to_workers(spec: Any) -> None:
    given = spec("list", limit=3, rename={"text": "words"})
    given["tasks"]["mood"]["input"] = "{words}"
    given["data"]["workers"] = 2
    model = mmkit.build(given, fit={"text": ["a fine film"]})
    rows = open_all(model.plan, "test")
    batches = list(loader(model, rows, 2))
    assert [batch.addresses for batch in batches] == [("source rows:1", "source rows:2"), ("source rows:3",)]


def test_a_row_that_raises_sample_error_is_a_bad_row(spec: Any, train: Any) -> None:
    given = spec("bad")
    with pytest.raises(mmkit.DataError) as caught:
        train(given)
    assert str(caught.value) == ("source rows:4: no text in row 3 (data.on_bad_sample: skip would leave such rows out)")
    given["data"] |= {"on_bad_sample": "skip", "max_bad": 0.5}
    result = mmkit.evaluate(train(given))["mood"]
    assert (len(result.predictions), result.metrics["bad_rows"]) == (7, 1)


@pytest.mark.parametrize(
    ("form", "streaming", "message"),
    [
        ("once", False, "source 'rows/rows' gives its rows one after another; say streaming: true"),
        ("once", True, "source 'rows/rows' gives a list_iterator, wanted is a sequence of rows, or an iterable that can be begun anew"),
        ("number", False, "source 'rows/rows' gives a int, wanted is a sequence of rows, or an iterable that can be begun anew"),
        ("empty", False, "source rows has no rows"),
        ("texts", False, "source 'rows/rows' gives a str as a row, wanted is a mapping of columns to values"),
        ("nothing", False, "source 'rows/rows' cannot be opened: KeyError: 'nothing'"),
        ("worse", False, "cannot read row 6 of source 'rows/rows': KeyError: 'text'"),
        ("context", False, "task 'mood' needs column 'text', which source rows does not have: allowed: root, split, streaming"),
    ],
)  # fmt: skip
def test_what_are_no_rows_is_named(spec: Any, train: Any, form: str, streaming: bool, message: str) -> None:
    given = spec(form, streaming=streaming)
    given["data"] |= {"on_bad_sample": "skip", "max_bad": 0.5}
    with pytest.raises((mmkit.DataError, mmkit.PluginError)) as caught:
        train(given)
    assert str(caught.value) == message


def test_either_a_path_or_a_source(mood: dict[str, Any], problems: Any) -> None:
    for given in ({"task": "mood"}, {"task": "mood", "path": "rows.jsonl", "source": "rows"}):
        mood["data"]["test"] = [given]
        assert problems(mood) == ["data.test[0]: give either path or source"]


def test_an_unknown_source_is_named_before_anything_is_read(spec: Any, problems: Any) -> None:
    given = spec("list")
    given["data"]["test"][0] = {"task": "mood", "source": "row"}
    assert problems(given) == [
        "data.test[0].source.use: unknown source 'row': did you mean 'rows'?\n    fix: see `mmkit components`"
    ]


def test_a_saved_model_is_used_without_its_source(spec: Any, train: Any, tmp_path: Path, monkeypatch: Any) -> None:
    train(spec("list"))
    discover.cache_clear()
    monkeypatch.setenv("MMKIT_PLUGINS", "text,tasks")
    model = mmkit.load(tmp_path / "model")
    assert set(model.predict("mood", {"text": "a fine warm film"})) >= {"label"}
    with pytest.raises(mmkit.SpecError) as caught:
        mmkit.evaluate(model)
    assert "data.test[0].source.use: unknown source 'rows': allowed: nothing here" in str(caught.value)
    assert json.loads((tmp_path / "model" / "plugins.json").read_text())["plugins"].keys() == {"tasks", "text"}
    with pytest.raises(mmkit.SpecError):
        plan(json.loads((tmp_path / "model" / "spec.json").read_text()), discover())
