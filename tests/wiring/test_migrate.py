"""Specs of older versions of a plugin are read in today's words, with a warning, and saved models go on loading."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit
from mmkit.discovery.loader import discover
from mmkit.wiring.planner import plan

CODE = """
from mmkit import Migration, hookimpl

@hookimpl
def mmkit_migrations():
    return [
        Migration("head", "classify", was="klassify", since="2.0"),
        Migration("head", "classify", options=("classes", "n"), function="plug_old:classes", since="2.1"),
        Migration("vocabulary", "words", options=("size",), function="plug_old:size"),
        Migration("backbone", "lstm", options=("broken",), function="plug_old:broken"),
        Migration("backbone", "lstm", options=("kept",), function="plug_old:same"),
        Migration("adapter", "pool", was="loop"), Migration("adapter", "loop", was="pool"),
    ]

def classes(options):
    options.pop("n", None)
    return {"labels": options.pop("classes").split(), **options}

def size(options):
    return {"vocab_size": options.pop("size"), **options}

def broken(options):
    return options["nothing"]

def same(options):
    return options
"""


@pytest.fixture
def old(install: Callable[..., Path], mood: dict[str, Any]) -> dict[str, Any]:
    install("old", CODE)
    mood["modalities"]["text"]["adapter"] = {"use": "words", "size": 50}
    mood["tasks"]["mood"]["head"] = {"use": "klassify", "classes": "neg pos", "n": 2}
    return mood


def test_old_names_and_options_are_read_as_new_ones(old: dict[str, Any]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        planned = plan(old, discover())
    assert planned.spec.tasks["mood"].head.model_dump() == {"use": "classify", "labels": ["neg", "pos"]}
    assert planned.spec.modalities["text"].adapter.model_dump() == {"use": "words", "vocab_size": 50}  # type: ignore[union-attr]
    told = "it is read as the new form; write that into the spec"
    assert [str(warning.message) for warning in caught] == [
        f"modalities.text.adapter: vocabulary 'words' has other options in plugin 'old' (size): {told}",
        f"tasks.mood.head: head 'klassify' is called 'classify' in plugin 'old' since version 2.0: {told}",
        f"tasks.mood.head: head 'classify' has other options in plugin 'old' since version 2.1 (classes, n): {told}",
    ]


def test_a_column_that_is_called_like_a_key_is_no_component(install: Callable[..., Path], mood: dict[str, Any]) -> None:
    install("old", CODE)
    mood["tasks"]["mood"]["columns"] = {"head": "text"}
    mood["tasks"]["mood"]["input"] = "{head}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan(mood, discover())


@pytest.mark.filterwarnings("ignore:.*is read as the new form")
def test_a_saved_model_of_an_older_version_loads(old: dict[str, Any], train: Any, tmp_path: Path) -> None:
    before = train(old).predict("mood", {"text": "a fine warm film"})
    path = tmp_path / "model" / "spec.json"
    spec = json.loads(path.read_text())
    assert spec["tasks"]["mood"]["head"]["use"] == "classify"
    spec["tasks"]["mood"]["head"] = {"use": "tasks/klassify", "classes": "neg pos"}
    path.write_text(json.dumps(spec))
    with pytest.raises(mmkit.CheckpointError, match="unknown head 'tasks/klassify'"):  # another plugin's name
        mmkit.load(tmp_path / "model")
    spec["tasks"]["mood"]["head"]["use"] = "klassify"
    path.write_text(json.dumps(spec))
    assert mmkit.load(tmp_path / "model").predict("mood", {"text": "a fine warm film"}) == before


@pytest.mark.filterwarnings("ignore:.*is (called|read)")
@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("backbone", {"use": "lstm", "broken": 1}, "backbone 'lstm' (plugin 'old') fails: KeyError: 'nothing'"),
        (
            "backbone",
            {"use": "lstm", "kept": 1},
            "backbone 'lstm' (plugin 'old') fails: ValueError: 'kept' is still among the options",
        ),
    ],
)
def test_a_migration_that_fails_is_named(
    old: dict[str, Any], problems: Any, place: str, value: Any, message: str
) -> None:
    old[place] = value
    assert problems(old) == [f"{place}: the migration of {message}"]


@pytest.mark.filterwarnings("ignore:.*is called")
def test_migrations_that_go_round_in_circles_end(
    install: Callable[..., Path], problems: Any, mood: dict[str, Any]
) -> None:
    install("old", CODE.replace('"pool"', '"a"').replace('"loop"', '"b"'))
    mood["modalities"]["text"]["adapter"] = "a"
    found = problems(mood)
    assert found == [
        "modalities.text.adapter: the migration of adapter 'b' (plugin 'old') leads back to what it began with"
    ]
