"""The JSON Schema of the spec, for editors: each ``use`` with the config of the component it names."""

from typing import Any

from mmkit.registry.registry import Registry
from mmkit.spec.schema import Spec
from mmkit.wiring.graph import import_path

_PLACES = {"encoder": ("encoder",), "adapter": ("adapter", "vocabulary"), "backbone": ("backbone",), "head": ("head",)}


def json_schema(registry: Registry) -> dict[str, Any]:
    """Schema of the whole spec with the installed components' options."""
    schema = Spec.model_json_schema()
    definitions = schema["$defs"]
    for place, kinds in _PLACES.items():
        options = []
        for component in registry.of_kind(*kinds):
            config = import_path(component.config).model_json_schema(ref_template="#/$defs/{model}")
            definitions.update(config.pop("$defs", {}))
            config["properties"] = {
                "use": {"enum": [component.name, component.full_name]},
                **config.get("properties", {}),
            }
            config["required"] = ["use", *config.get("required", [])]
            config["description"] = component.summary
            definitions[f"{component.kind}:{component.name}"] = config
            options.append({"$ref": f"#/$defs/{component.kind}:{component.name}"})
        names = [name for c in registry.of_kind(*kinds) for name in (c.name, c.full_name)]
        definitions[f"use:{place}"] = {"anyOf": [*options, {"enum": names}]}
    for definition in definitions.values():
        for name, field in definition.get("properties", {}).items():
            if name in _PLACES and "Use" in str(field):
                text = {"description": field["description"]} if "description" in field else {}
                definition["properties"][name] = {"$ref": f"#/$defs/use:{name}", **text}
    for name, field in schema["properties"].items():
        if name in _PLACES and "Use" in str(field):
            schema["properties"][name] = {"$ref": f"#/$defs/use:{name}"}
    return schema
