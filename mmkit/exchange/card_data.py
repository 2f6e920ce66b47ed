"""What a model card may say of the data: names without where they lie, and nothing of a row."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmkit.exchange.card_text import base_name, plain, slug
from mmkit.training.figures import Kept
from mmkit.wiring.graph import Plan

HUB = "hub:"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
PARTS = ("train", "valid", "test")
Source = Mapping[str, Any]


def name_of(source: Source) -> str:
    """A data set of the hub by its name, a file or folder by its last part, a source component by its own."""
    path = source.get("path")
    if path is None:
        return f"source {(source.get('source') or {}).get('use', '')}"
    name = str(path).removeprefix(HUB)
    return name if _is_hub(source) else base_name(name)


def hub_names(sources: Sequence[Source]) -> list[str]:
    """Data sets of the hub, each once."""
    return list(dict.fromkeys(name_of(source) for source in sources if _is_hub(source)))


def base_models(plan: Plan) -> list[str]:
    """Models of the hub that parts began as, each once: what their option ``hub`` names."""
    named = (placed.options().get("hub") for placed in plan.placed())
    return list(dict.fromkeys(name for name in named if isinstance(name, str) and HUB_NAME.fullmatch(name)))


def parts_of_data(data: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """train, valid, test → (name, task) of each source."""
    named = {part: [(name_of(one), str(one.get("task"))) for one in data.get(part) or []] for part in PARTS}
    return {part: sources for part, sources in named.items() if sources}


def tested_on(data: Mapping[str, Any], one: Kept) -> tuple[str, str, str]:
    """The identifier, the name and the split of what figures were measured on, as the hub's ``model-index`` has them."""
    sources = [source for source in data.get(one.part) or [] if source.get("task") == one.task]
    if len(sources) == 1 and _is_hub(sources[0]):
        return name_of(sources[0]), name_of(sources[0]), plain(sources[0].get("split") or one.part)
    called = ", ".join(name_of(source) for source in sources) or "not said"
    return slug(called), plain(called), plain(one.part)


def _is_hub(source: Source) -> bool:
    path = source.get("path")
    return isinstance(path, str) and path.startswith(HUB) and bool(HUB_NAME.fullmatch(path[len(HUB) :]))
