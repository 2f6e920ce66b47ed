"""The JSON Schema that editors use: every spec of the recipes fits, no misspelt key does, at any level."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmkit.discovery import discover
from mmkit.wiring.schema import json_schema

SPECS = sorted((Path(__file__).parents[2] / "recipes").glob("*/*.yaml"))
KINDS: dict[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema(discover())


SILENT = ("title", "description", "default", "$defs", "discriminator", "format", "examples")


def fits(value: Any, rule: Any, whole: dict[str, Any]) -> bool:
    """The part of JSON Schema (draft 2020-12) that pydantic writes; a keyword that is not known here fails the test."""
    if isinstance(rule, bool):
        return rule
    return all(_holds(key, said, value, rule, whole) for key, said in rule.items() if key not in SILENT)


def _holds(key: str, said: Any, value: Any, rule: dict[str, Any], whole: dict[str, Any]) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    items = value if isinstance(value, list) else []
    members = value if isinstance(value, dict) else {}
    known = rule.get("properties", {})
    kinds = {"integer": number and isinstance(value, int), "number": number}
    checks = {
        "$ref": lambda: fits(value, whole["$defs"][said.removeprefix("#/$defs/")], whole),
        "anyOf": lambda: any(fits(value, option, whole) for option in said),
        "oneOf": lambda: sum(fits(value, option, whole) for option in said) == 1,
        "enum": lambda: value in said,
        "const": lambda: value == said,
        "type": lambda: kinds[said] if said in kinds else isinstance(value, KINDS[said]),
        "properties": lambda: all(fits(members[name], said[name], whole) for name in members.keys() & said.keys()),
        "additionalProperties": lambda: all(fits(members[n], said, whole) for n in members.keys() - known.keys()),
        "required": lambda: not isinstance(value, dict) or set(said) <= value.keys(),
        "minProperties": lambda: not isinstance(value, dict) or len(value) >= said,
        "items": lambda: all(fits(item, said, whole) for item in items),
        "prefixItems": lambda: all(fits(item, each, whole) for item, each in zip(items, said, strict=False)),
        "minItems": lambda: not isinstance(value, list) or len(value) >= said,
        "maxItems": lambda: not isinstance(value, list) or len(value) <= said,
        "minLength": lambda: not isinstance(value, str) or len(value) >= said,
        "minimum": lambda: not number or value >= said,
        "maximum": lambda: not number or value <= said,
        "exclusiveMinimum": lambda: not number or value > said,
        "exclusiveMaximum": lambda: not number or value < said,
    }
    return bool(checks[key]())


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
    assert fits(spec, schema, schema)
    tried = 0
    for place in keys(spec):
        if place and place[-1] in OPEN:
            continue
        wrong = copy.deepcopy(spec)
        target = wrong
        for part in place:
            target = target[part]
        target["freezee"] = True
        assert not fits(wrong, schema, schema), place
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
    assert fits(mood, schema, schema)
    target: Any = mood
    for part in place[:-1]:
        target = target[part]
    target[place[-1]] = value
    assert not fits(mood, schema, schema)


def test_every_installed_component_and_option_is_described(schema: dict[str, Any]) -> None:
    definitions = schema["$defs"]
    for component in discover().of_kind("encoder", "adapter", "vocabulary", "backbone", "head"):
        described = definitions[f"{component.kind}:{component.name}"]
        assert described["description"] == component.summary
        assert described["properties"]["use"]["enum"] == [component.name, component.full_name]
        for name, option in described["properties"].items():
            assert name == "use" or "description" in option, f"{component.full_name}: {name}"
