"""The JSON Schema of the spec, for editors: each ``use`` with the config of the component it names. Imports no torch."""

import json
from typing import Any

from mmkit.registry.component import Component
from mmkit.registry.registry import Registry
from mmkit.spec.schema import Spec
from mmkit.wiring.graph import import_path

_KINDS = {
    "encoder": ("encoder",),
    "adapter": ("adapter", "vocabulary", "continuous"),
    "soft-adapter": ("adapter",),
    "backbone": ("backbone",),
    "head": ("head",),
    "source": ("source",),
    "metrics": ("metric",),
    "callbacks": ("callback",),
}
_REF = "#/$defs/"


def json_schema(registry: Registry) -> dict[str, Any]:
    """Schema (draft 2020-12) of the whole spec with the options of every installed component.

    A component whose config cannot be imported is left open, with the reason in its description.
    """
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Spec.model_json_schema()}
    definitions: dict[str, Any] = schema["$defs"]
    spec_parts = [schema, *definitions.values()]
    for place, kinds in _KINDS.items():
        options, names = [], []
        for component in registry.of_kind(*kinds):
            said = _names(registry, component, kinds)
            key = f"{component.kind}:{said[0].replace('/', '.')}"  # a / would end a step of the reference
            if key not in definitions:
                definitions[key] = _component(component, said, definitions)
            options.append({"$ref": f"{_REF}{key}"})
            names += said
        definitions[f"use:{place}"] = {"anyOf": [*options, {"enum": names}]}
    for part in spec_parts:
        for name, field in part.get("properties", {}).items():
            if name in _KINDS and f"{_REF}Use" in json.dumps(field):
                place = "soft-adapter" if name == "adapter" and part.get("title") == "Read" else name
                text = {"description": field["description"]} if "description" in field else {}
                use = {"$ref": f"{_REF}use:{place}"}
                part["properties"][name] = {"type": "array", "items": use, **text} if "items" in field else use | text
    definitions.pop("Use", None)
    return schema


def _names(registry: Registry, component: Component, kinds: tuple[str, ...]) -> list[str]:
    """What ``use`` may say: the short name only while no other plugin has it."""
    same = [other for other in registry.of_kind(*kinds) if other.name == component.name]
    return [component.name, component.full_name] if len(same) == 1 else [component.full_name]


def _component(component: Component, names: list[str], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of one component's options; what its config refers to joins the definitions."""
    use = {"use": {"enum": names}}
    try:
        config = import_path(component.config).model_json_schema(ref_template=f"{_REF}{{model}}")
    except Exception as error:
        why = f"{component.summary} Its options are not known: {type(error).__name__}: {error}"
        return {"type": "object", "properties": use, "required": ["use"], "description": why}
    inner = config.pop("$defs", {})
    moved = {
        name: f"{component.plugin}.{component.name}:{name}"
        for name in inner
        if definitions.get(name, inner[name]) != inner[name]
    }
    if moved:  # another component has a different model of this name
        config, inner = _renamed(config, moved), {moved.get(k, k): _renamed(v, moved) for k, v in inner.items()}
    definitions.update(inner)
    properties = {**use, **config.get("properties", {})}
    required = ["use", *config.get("required", [])]
    return {**config, "properties": properties, "required": required, "description": component.summary}


def _renamed(value: Any, moved: dict[str, str]) -> Any:
    """The same schema with references to other names."""
    if isinstance(value, dict):
        return {key: _renamed(child, moved) for key, child in value.items()}
    if isinstance(value, list):
        return [_renamed(child, moved) for child in value]
    if isinstance(value, str) and value.startswith(_REF):
        return f"{_REF}{moved.get(value.removeprefix(_REF), value.removeprefix(_REF))}"
    return value
