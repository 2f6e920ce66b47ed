"""Paths of a spec, ``train.stages[0].lr``: read, look up, put a value there."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mmkit.errors import nearest
from mmkit.spec.load import Location, Source, dotted

_STEP = re.compile(r'(?:^|\.)([^.\[\]"]+)|\[(\d+)\]|\["([^"]+)"\]')
_COMPONENTS = ("encoder", "adapter", "backbone", "head", "source")


def parse_path(path: str) -> Location:
    """``train.stages[0].lr`` → ``("train", "stages", 0, "lr")``; a key with a dot is written ``["image.*"]``.

    Raises:
        ValueError: not a path.
    """
    found: list[str | int] = []
    at = 0
    while at < len(path) or not path:
        match = _STEP.match(path, at)
        if match is None or (found == [] and match[1] is None):
            raise ValueError('is not a path; write it like train.stages[0].lr, a key with dots like lr["image.*"]')
        found.append(match[1] or match[3] or int(match[2]))
        at = match.end()
    return tuple(found)


def get(data: Any, location: Location) -> Any:
    """The value there; None where there is none."""
    for part in location:
        if isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif isinstance(data, Mapping):
            data = data.get(part)
        else:
            return None
    return data


def put(source: Source, location: Location, value: Any, written: Location) -> Source:
    """The same spec with another value in one place; what leads there is made where it is left out.

    Args:
        written: the place that problems with the value are reported at.

    Raises:
        ValueError: the path leads through a list entry or a plain value that is not there.
    """
    data = _put(source.data, location, value, ())
    marks = {place: mark for place, mark in source.marks.items() if place[: len(location)] != location}
    if written in source.marks:
        marks[location] = source.marks[written]
    return replace(source, data=data, marks=marks)


def _put(data: Any, rest: Location, value: Any, done: Location) -> Any:
    if not rest:
        return value
    part = rest[0]
    if isinstance(data, str) and done and done[-1] in _COMPONENTS and isinstance(part, str):
        data = {"use": data}
    if isinstance(part, int):
        if not isinstance(data, list):
            raise ValueError(f"{dotted(done)} is no list, so there is no [{part}]")
        if part >= len(data):
            raise ValueError(f"{dotted(done)} has {len(data)} entries, so there is no [{part}] (the first is [0])")
        return [_put(old, rest[1:], value, (*done, part)) if i == part else old for i, old in enumerate(data)]
    if not isinstance(data, Mapping):
        raise ValueError(f"{dotted(done) or 'the spec'} is no mapping, so there is no {part!r} in it")
    if len(rest) > 1 and part not in data:
        if isinstance(rest[1], int):
            raise ValueError(f"there is no {dotted((*done, part))}: {nearest(part, [str(key) for key in data])}")
        return {**data, part: _put({}, rest[1:], value, (*done, part))}
    old = data.get(part)
    return {**data, part: _put({} if old is None else old, rest[1:], value, (*done, part))}
