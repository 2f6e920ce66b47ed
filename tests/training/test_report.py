"""The report of an evaluation, and the sections of plugins in it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit
from mmkit.training.report import Evaluation, write_report

CODE = """
from mmkit import ReportSection, hookimpl

def sums(evaluation):
    return f"<p>{sum(len(r.predictions) for r in evaluation.results.values())} answers on {evaluation.part}</p>"

def nothing(evaluation):
    return None

def fails(evaluation):
    return {}["<label>"]

def number(evaluation):
    return 3

@hookimpl
def mmkit_report_sections():
    return [ReportSection(name, name.title(), f"plug_lab:{name}") for name in ("sums", "nothing", "fails", "number")]
"""


@pytest.fixture
def both(
    tmp_path: Path, picture: Callable[..., bytes], sound: Callable[..., bytes], write_rows: Callable[..., Path]
) -> dict[str, Any]:
    """A model that looks and one that listens, with rows for both."""
    rows: list[dict[str, Any]] = []
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
        (tmp_path / f"{number}.wav").write_bytes(sound(number))
        label = ["odd", "even"][number % 2]
        rows.append({"image": f"{number}.png", "audio": f"{number}.wav", "label": label, "text": f"<b>{number}</b>"})
    path = str(write_rows(rows))
    head = {"use": "classify", "labels": ["odd", "even"]}
    looks = {"input": "{image}", "output": "{label}", "head": head, "reads": "image"}
    hears = {"input": "{audio}", "output": "{label}", "head": head, "reads": "audio"}
    reads = {"input": "{text}", "output": "{label}", "head": head}
    sources = [{"task": task, "path": path} for task in ("looks", "hears", "reads")]
    return {
        "mmkit": 1,
        "modalities": {
            "image": {"encoder": {"use": "cnn", "image_size": 16, "channels": [4, 4]}},
            "audio": {"encoder": {"use": "log-mel", "n_mels": 8}},
            "text": {"adapter": "characters"},
        },
        "backbone": {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8},
        "tasks": {"looks": looks, "hears": hears, "reads": reads},
        "data": {"train": sources, "test": sources},
        "train": {"stages": [{"name": "all", "steps": 1, "batch_size": 4}]},
    }


@pytest.fixture
def page(both: dict[str, Any], train: Any, tmp_path: Path) -> Callable[..., str]:
    def write(**changes: Any) -> str:
        model = train({**both, **changes})
        write_report(tmp_path / "new" / "page.html", Evaluation(model, "test", mmkit.evaluate(model)), "A & B")
        return (tmp_path / "new" / "page.html").read_text("utf-8")

    return write


def test_the_page_has_figures_answers_pictures_and_sounds(page: Callable[..., str]) -> None:
    text = page()
    assert re.findall("<h2>(.*?)</h2>", text) == ["Figures", "looks", "hears", "reads", "Sounds", "Pictures"]
    assert "<h1>A &amp; B</h1>" in text
    assert text.count("<td>accuracy<td class=n>") == 3
    assert text.count('src="data:image/png;base64,') == 8  # four pictures, four spectrograms
    assert text.count('<audio controls src="data:audio/wav;base64,') == 4
    assert "&lt;b&gt;0&lt;/b&gt;" in text
    assert "<b>0</b>" not in text


def test_sections_of_plugins_follow_and_failures_stay_in_their_place(
    install: Callable[..., Path], page: Callable[..., str]
) -> None:
    install("lab", CODE)
    with pytest.warns(UserWarning, match="report section") as told:
        text = page()
    assert "<h2>Sums</h2><p>12 answers on test</p>" in text
    assert "Nothing" not in text
    assert "<h2>Fails</h2><p>This section could not be made: KeyError: &#x27;&lt;label&gt;&#x27;</p>" in text
    assert [str(warning.message) for warning in told] == [
        "report section 'fails' of plugin 'lab' fails: KeyError: '<label>'",
        "report section 'number' of plugin 'lab' fails: it gives a int, wanted is HTML text or None",
    ]


def test_half_of_the_answers_shown_are_wrong_where_there_are_enough(both: dict[str, Any], train: Any) -> None:
    model = train(both)
    results = mmkit.evaluate(model)
    result = results["reads"]
    result.predictions = [{"label": "a"}] * 40
    result.references = ["a"] * 30 + ["b"] * 10
    evaluation = Evaluation(model, "test", results)
    shown = evaluation.shown("reads", 8)
    assert [evaluation.right("reads", index) for index in shown] == [True] * 4 + [False] * 4
    assert len(set(shown)) == 8
    result.references = ["a"] * 39 + ["b"]
    assert sum(not evaluation.right("reads", index) for index in evaluation.shown("reads", 8)) == 1
    assert len(evaluation.shown("reads", 100)) == 40


def test_inputs_are_those_of_the_rows(both: dict[str, Any], train: Any, tmp_path: Path) -> None:
    model = train(both)
    evaluation = Evaluation(model, "test", mmkit.evaluate(model))
    assert evaluation.columns("looks", "image") == ["image"]
    assert evaluation.columns("looks", "audio") == []
    assert evaluation.value("looks", 2, "image") == tmp_path / "2.png"
    assert evaluation.value("reads", 1, "text") == "<b>1</b>"
    both["data"]["test"] = [{**source, "streaming": True} for source in both["data"]["test"]]
    streamed = train(both)
    evaluation = Evaluation(streamed, "test", mmkit.evaluate(streamed))
    assert evaluation.value("looks", 2, "image") is None
    assert evaluation.cards("image", json.dumps).count("<em>(streamed)</em>") == 4
