"""Writes the reference pages from the code (spec.md, components.md, checks.md, python-api.md) and the diagrams of all
pages. ``make reference`` runs it.

Text comes from ``Field(description=…)``, component records and docstrings: mend a page there, not in the page.
"""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs.drawing import drawings
from docs.signatures import api_page, plain
from mmkit.discovery import discover
from mmkit.registry import Component
from mmkit.spec.schema import Spec
from mmkit.testing.check import ALL, KINDS, LEVELS
from mmkit.testing.checks import CHECKS
from mmkit.wiring.graph import import_path

HERE = Path(__file__).parent
PLUGINS = sorted(path.name for path in (HERE.parent / "plugins").iterdir() if (path / "pyproject.toml").is_file())
Schema = dict[str, Any]


def main() -> None:
    """Write pages and diagrams."""
    for name, text in {**pages(), **drawings()}.items():
        (HERE / name).write_text(text, "utf-8")


def pages() -> dict[str, str]:
    """Every generated page by file name."""
    made = {
        "spec.md": spec_page(),
        "components.md": components_page(),
        "checks.md": checks_page(),
        "python-api.md": api_page(),
    }
    note = "*Made from the code by `make reference`; a correction belongs into the code.*"
    return {name: re.sub(r"\n{3,}", "\n\n", f"{text.rstrip()}\n\n{note}\n") for name, text in made.items()}


# Types and defaults


def kind(schema: Schema) -> str:
    """A JSON Schema type in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return "[component](#component)" if name == "Use" else f"[{name}](#{name.lower()})"
    if "discriminator" in schema:
        names = ", ".join(f"`{name}`" for name in schema["discriminator"]["mapping"])
        return f"`use:` one of {names}, with its options"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(kind(option) for option in schema["anyOf"] if option.get("type") != "null"))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return _list(schema)
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties")
        return f"mapping of names to {plural(inner)}" if isinstance(inner, dict) and inner else "mapping"
    name = "path" if schema.get("format") == "path" else str(schema.get("type", "anything"))
    return name + _limits(schema)


def _list(schema: Schema) -> str:
    items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
    least, most = schema.get("minItems"), schema.get("maxItems")
    count = f"{least} " if least == most and least else ""
    return f"list of {count}{plural(items)}" if items else "list"


def plural(schema: Schema) -> str:
    """The type of several values."""
    return re.sub(r"^(string|integer|number|path)\b", r"\1s", kind(schema))


def _limits(schema: Schema) -> str:
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    return ",".join(f" {sign} {schema[key]:g}" for key, sign in signs.items() if key in schema)


def table(schema: Schema) -> list[str]:
    """The fields of one model: key, type, default, meaning."""
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, given in schema.get("properties", {}).items():
        default = "**required**"
        if name not in schema.get("required", []):
            value = given.get("default")
            default = "–" if value in (None, [], {}) else f"`{json.dumps(value).strip(chr(34))}`"
        meaning = given.get("description", "")
        cells = (f"`{name}`", kind(given), default, meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines if len(lines) > 2 else ["No options."]


# Pages

SPEC_HEAD = """# Spec reference

A spec is a YAML or JSON file, or a dict. Every key is listed here. Unknown keys are refused at every level.
"–" as a default means that the key may be left out. Relative paths start from the spec's folder; `train.output` starts
from the working folder.

`mmkit schema` prints the same as a JSON Schema with the options of the installed components, for editors that complete
and check YAML.

"""

USE = """## component

At every `encoder`, `adapter`, `backbone`, `head` and `source`, and in the lists `metrics` and `callbacks`. The key `use` names a component, as `name` or, where two plugins
offer that name, as `plugin/name`; all other keys are the component's own options, listed in
[components](components.md). A component without options may be written as its name alone: `adapter: linear` means
`adapter: {use: linear}`.
"""


def spec_page() -> str:
    """Every model of the schema, in the order in which a spec names them."""
    schema = Spec.model_json_schema()
    definitions: dict[str, Schema] = {"Spec": schema, **schema["$defs"]}
    places: dict[str, list[str]] = {"Spec": [""]}
    for name in iter(order := ["Spec"]):
        for field, given in definitions[name].get("properties", {}).items():
            for target, step in _targets(given, field):
                places.setdefault(target, [])
                places[target] += [f"{place}.{step}".strip(".") for place in places[name]]
                if target not in order and target != "Use":
                    order.append(target)
    parts = [SPEC_HEAD]
    for name in order:
        where = ", ".join(f"`{place}`" for place in places[name] if place)
        about = plain(definitions[name].get("description", "")) + (f" At {where}." if where else "")
        parts += [f"## {name}\n", f"{about}\n", *table(definitions[name]), ""]
    return "\n".join([*parts, USE])


def _targets(schema: Schema, step: str) -> Iterator[tuple[str, str]]:
    if "$ref" in schema:
        yield schema["$ref"].rpartition("/")[2], step
    for option in schema.get("anyOf", []):
        yield from _targets(option, step)
    if isinstance(schema.get("items"), dict):
        yield from _targets(schema["items"], f"{step}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _targets(schema["additionalProperties"], f"{step}.NAME")


def components_page() -> str:
    """Every component of the first-party plugins."""
    parts = [
        "# Components\n",
        "What a spec's `use:` can name once the first-party plugins are installed. `mmkit components` lists those that",
        "are installed on your machine, from any plugin; [write a plugin](write-a-plugin.md) says how to add one.\n",
    ]
    for report in discover().reports:
        if report.distribution not in PLUGINS or report.status != "loaded":
            continue
        parts.append(f"## {report.distribution}\n")
        for component in report.components:
            parts += _component(component)
    return "\n".join(parts)


def _component(component: Component) -> list[str]:
    config = import_path(component.config)
    facts = [f"modality `{component.modality}`"] if component.modality else []
    facts += ["generates"] if component.generates else []
    facts += ["needs a backbone that generates"] if component.autoregressive else []
    facts += ["its output column is of a vocabulary"] if component.spells else []
    facts += ["its output column is of a continuous adapter"] if component.continuous else []
    facts += [f"reads {component.reads} nodes"] if component.reads > 1 else []
    about = plain(component.summary) + (f" ({'; '.join(facts)})" if facts else "")
    rules = re.sub(r"^Settings of .*?(; |\.$)", "", plain(inspect.cleandoc(config.__doc__ or "")))
    extra = [rules[0].upper() + rules[1:] + "\n"] if rules else []
    return [f"### {component.name} ({component.kind})\n", about + "\n", *extra, *table(config.model_json_schema()), ""]


def checks_page() -> str:
    """Every check of the conformance kit, level by level."""
    lines = [
        "# Checks\n",
        "What the [conformance kit](conformance.md) holds components to: what is true of one that passes, of which kinds it "
        "has to be true, and how to mend it.\n",
    ]
    for level in LEVELS:
        lines += [f"## {level}\n", "| check | true of | what is true | to mend |", "|---|---|---|---|"]
        for one in CHECKS:
            if one.level == level:
                kinds = {ALL: "all", KINDS: "all parts of a model"}.get(one.kinds) or ", ".join(one.kinds)
                lines.append(f"| `{one.name}` | {kinds} | {one.about} | {one.mend} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
