"""The JSON Schema that editors use: every spec of the recipes fits, no misspelt key does, at any level."""

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mmkit.discovery import discover
from mmkit.wiring.schema import json_schema

SPECS = sorted((Path(__file__).parents[2] / "recipes").glob("*/*.yaml"))


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema(discover())


def fits(spec: Any, schema: dict[str, Any]) -> bool:
    """Whether a public validator accepts it."""
    return bool(jsonschema.Draft202012Validator(schema).is_valid(spec))


def keys(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every mapping in a spec."""
    if isinstance(value, dict):
        return [path, *(found for key, child in value.items() for found in keys(child, (*path, key)))]
    if isinstance(value, list):
        return [found for index, child in enumerate(value) for found in keys(child, (*path, index))]
    return []


OPEN = ("modalities", "tasks", "nodes", "columns", "rename", "config")  # mappings whose keys are the user's own


@pytest.mark.parametrize("path", SPECS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_recipe_fits_and_a_misspelt_key_at_any_level_does_not(path: Path, schema: dict[str, Any]) -> None:
    spec = yaml.safe_load(path.read_text("utf-8"))
    assert fits(spec, schema)
    tried = 0
    for place in keys(spec):
        if place and place[-1] in OPEN:
            continue
        wrong = copy.deepcopy(spec)
        target = wrong
        for part in place:
            target = target[part]
        target["freezee"] = True
        assert not fits(wrong, schema), place
        tried += 1
    assert tried >= 5


def test_the_recipes_are_found() -> None:
    assert len(SPECS) >= 8


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("backbone",), {"use": "lstmm"}),
        (("backbone",), {"use": "lstm", "layers": 0}),
        (("backbone",), {"layers": 2}),
        (("backbone",), "classify"),
        (("modalities", "text", "adapter"), {"use": "words", "vocab_size": "many"}),
        (("tasks", "mood", "head"), {"use": "classify"}),
        (("tasks", "mood", "reads"), [3]),
        (("train", "stages"), []),
        (("train", "stages", 0, "lr"), 0),
        (("train", "precision"), "fp16"),
        (("mmkit",), 2),
    ],
)
def test_a_value_that_the_spec_refuses_is_refused(
    mood: dict[str, Any], schema: dict[str, Any], place: tuple[Any, ...], value: Any
) -> None:
    assert fits(mood, schema)
    target: Any = mood
    for part in place[:-1]:
        target = target[part]
    target[place[-1]] = value
    assert not fits(mood, schema)


def test_every_installed_component_and_option_is_described(schema: dict[str, Any]) -> None:
    definitions = schema["$defs"]
    for component in discover().of_kind("encoder", "adapter", "vocabulary", "backbone", "head"):
        described = definitions[f"{component.kind}:{component.name}"]
        assert described["description"] == component.summary
        assert described["properties"]["use"]["enum"] == [component.name, component.full_name]
        for name, option in described["properties"].items():
            assert name == "use" or "description" in option, f"{component.full_name}: {name}"


def test_a_single_name_is_taken_where_the_spec_takes_one(mood: dict[str, Any], schema: dict[str, Any]) -> None:
    mood["tasks"]["mood"]["reads"] = "backbone"
    mood["train"]["stages"][0]["train"] = "backbone"
    mood["data"]["urls"] = {"hosts": "cdn.example.org"}
    assert fits(mood, schema)
