"""What a recipe's README says in code blocks, and whether its specs say the same."""

import re
from pathlib import Path
from typing import Any

import yaml

_YAML = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)


def excerpts(readme: str) -> list[dict[str, Any]]:
    """The YAML blocks of a README; a lone ``…`` stands for keys that are left out."""
    return [yaml.safe_load(block) for block in _YAML.findall(readme)]


def contradictions(excerpt: dict[str, Any], specs: dict[str, Any]) -> list[str]:
    """Entries of an excerpt that no spec (by file name) has, at any depth, with all that the excerpt says below them."""
    return [
        f"{key}: {value}"
        for key, value in excerpt.items()
        if not any(_within(spec, {key: value}) for spec in specs.values())
    ]


def specs_of(folder: Path) -> dict[str, Any]:
    """The recipe's specs by file name."""
    return {path.name: yaml.safe_load(path.read_text("utf-8")) for path in sorted(folder.glob("*.yaml"))}


def _within(whole: Any, part: Any) -> bool:
    """Whether ``part`` is ``whole``, or something below it, with keys left out."""
    below = whole.values() if isinstance(whole, dict) else whole if isinstance(whole, list) else ()
    return _covers(whole, part) or any(_within(value, part) for value in below)


def _covers(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        said = {key: value for key, value in part.items() if key != "…"}
        return isinstance(whole, dict) and all(key in whole and _covers(whole[key], said[key]) for key in said)
    if isinstance(part, list):
        same = isinstance(whole, list) and len(whole) == len(part)
        return same and all(_covers(one, other) for one, other in zip(whole, part, strict=True))
    return bool(whole == part)
