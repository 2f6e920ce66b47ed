"""Where a spec names components, and of which kinds."""

from collections.abc import Callable, Mapping
from typing import Any

from mmkit.spec.load import Location

_ANY = "*"
PLACES: Mapping[Location, tuple[str, ...]] = {
    ("modalities", _ANY, "encoder"): ("encoder",),
    ("modalities", _ANY, "adapter"): ("adapter", "vocabulary", "continuous"),
    ("backbone",): ("backbone",),
    ("nodes", _ANY, "backbone"): ("backbone",),
    ("nodes", _ANY, "reads", _ANY, "adapter"): ("adapter",),
    ("tasks", _ANY, "head"): ("head",),
    ("tasks", _ANY, "metrics", _ANY): ("metric",),
    ("data", _ANY, _ANY, "source"): ("source",),
    ("train", "callbacks", _ANY): ("callback",),
}

Change = Callable[[Any, tuple[str, ...], Location], Any]


def walk(data: Any, change: Change, location: Location = ()) -> Any:
    """The same data with ``change(value, kinds, location)`` in place of every value that names a component."""
    kinds = _kinds(location)
    if kinds:
        return change(data, kinds, location)
    if isinstance(data, list):
        return [walk(value, change, (*location, index)) for index, value in enumerate(data)]
    if isinstance(data, Mapping):
        return {key: walk(value, change, (*location, key)) for key, value in data.items()}
    return data


def _kinds(location: Location) -> tuple[str, ...]:
    for place, kinds in PLACES.items():
        if len(place) == len(location) and all(p in (_ANY, q) for p, q in zip(place, location, strict=True)):
            return kinds
    return ()
