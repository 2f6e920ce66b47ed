"""pydantic's findings → located problems with a did-you-mean."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from mmkit.errors import Problem, nearest
from mmkit.spec.load import Location, Source
from mmkit.spec.paths import get


def problems_of(error: ValidationError, source: Source, model: type[BaseModel], prefix: Location = ()) -> list[Problem]:
    """Every finding of ``error``, each with its place in the source."""
    data = get(source.data, prefix)
    found = [(finding, _place(finding, data)) for finding in error.errors()]
    plain = {place for finding, place in found if finding["type"] != "dict_type"}
    return [
        _problem(finding, source, model, prefix + place)
        for finding, place in found
        if finding["type"] != "dict_type" or place not in plain  # of "a number or a mapping", one is enough
    ]


def _place(finding: Any, data: Any) -> Location:
    """Where it is in the source: without pydantic's own parts, and without keys that a short form leaves out."""
    found: list[str | int] = []
    parts = finding["loc"]
    for index, part in enumerate(parts):
        keys = data if isinstance(data, Mapping) else {}
        if part not in keys and (_internal(part) or (index + 1 < len(parts) and parts[index + 1] in keys)):
            continue
        found.append(part)
        data = get(data, (part,))
    return tuple(found)


def _problem(finding: Any, source: Source, model: type[BaseModel], location: Location) -> Problem:
    kind, got = finding["type"], finding.get("input")
    if kind == "extra_forbidden":
        fields = _fields_at(model, finding["loc"][:-1])
        return source.problem(location, f"unknown key {location[-1]!r}: {nearest(str(location[-1]), fields)}")
    if kind == "missing":
        return source.problem(location[:-1], f"the key {location[-1]!r} is missing")
    message = finding["msg"].removeprefix("Value error, ")
    if not isinstance(got, dict | list | BaseModel) and kind != "value_error":
        message += f" (got {got!r})"
    return source.problem(location, message)


def _internal(part: Any) -> bool:
    return isinstance(part, str) and ("[" in part or part.startswith(("function-", "constrained-")))


def _fields_at(model: type[BaseModel], location: Iterable[Any]) -> list[str]:
    current: Any = model
    for part in location:
        if _internal(part):
            continue
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = _inner(current.model_fields[part].annotation)
    if isinstance(current, type) and issubclass(current, BaseModel):
        return [field.alias or name for name, field in current.model_fields.items()]
    return []


def _inner(annotation: Any) -> Any:
    """The model class inside ``dict[str, X]``, ``list[X]``, ``X | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner(argument)
        if found is not None:
            return found
    return None
