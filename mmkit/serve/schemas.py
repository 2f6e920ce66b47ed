"""Requests and responses of a model's own tasks, made from its spec."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, create_model

from mmkit.errors import nearest
from mmkit.serve.offer import TEXT, Column, Offered
from mmkit.serve.settings import Settings

Count = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**62)]
Share = Annotated[float, Field(gt=0, le=1)]
Penalty = Annotated[float, Field(ge=-10, le=10)]
Guidance = Annotated[float, Field(ge=0, le=100)]


def _usable(value: float) -> float:
    """A temperature so small that scores overflow draws nothing."""
    if 0 < value < COLDEST:
        raise ValueError(f"0, or {COLDEST} to 10")
    return value


COLDEST = 0.001
Temperature = Annotated[float, Field(ge=0, le=10), AfterValidator(_usable)]
_OPTIONS: dict[str, tuple[Any, str]] = {
    "max_new_tokens": (Count, "Most ids that are generated."),
    "beams": (Count, "Width of the beam search."),
    "temperature": (Temperature, "0 takes the likeliest id."),
    "top_k": (Count, "Sample among the k likeliest ids."),
    "top_p": (Share, "Sample among the likeliest ids of this joint probability."),
    "length_penalty": (
        Penalty,
        "Beam scores are divided by length to this power.",
    ),
    "guidance": (Guidance, "Above 1 follows the columns more closely."),
    "schema": (dict[str, Any], "JSON Schema that the answer, a JSON text, is held to."),
    "seed": (Seed, "Equal seeds give equal answers; default: any."),
}
_FILE: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "description": "data:TYPE;base64,…"},
        {
            "type": "object",
            "properties": {"data": {"type": "string", "contentEncoding": "base64"}},
            "required": ["data"],
        },
        {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]},
        {"type": "array", "description": "Numbers, where the modality takes them."},
        {"type": "object", "description": "Arrays of numbers by name, where the modality takes them."},
    ]
}


class Strict(BaseModel):
    """Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


def request_of(task: Offered, settings: Settings) -> type[BaseModel]:
    """What ``/v1/tasks/TASK`` takes: ``{"input": {column: value}, "options": {…}}``."""
    stem = _stem(task.name)
    columns: dict[str, Any] = {
        field_of(place): (_type(column), Field(alias=column.name, description=_about(column)))
        for place, column in enumerate(task.columns)
    }
    fields: dict[str, Any] = {
        "input": (create_model(f"{stem}Input", __base__=Strict, **columns), Field(description="The columns."))
    }
    if task.options:
        fields["options"] = (options_of(task, settings) | None, Field(None, description="How it is decoded."))
    return create_model(f"{stem}Request", __base__=Strict, **fields)


def field_of(place: int) -> str:
    """A column's field in the model of the input: columns may have names that pydantic keeps for itself."""
    return f"column_{place}"


def options_of(task: Offered, settings: Settings) -> type[BaseModel]:
    """Decoding options of a task, all of them optional."""
    known: dict[str, Any] = {}
    for name in task.options:
        kind, about = _OPTIONS[name]
        most = {"max_new_tokens": settings.max_new_tokens, "beams": settings.max_beams}.get(name)
        kind = kind if most is None else Annotated[int, Field(gt=0, le=most)]
        field = f"{name}_" if hasattr(BaseModel, name) else name
        known[field] = (kind | None, Field(None, alias=name, description=about))
    return create_model(f"{_stem(task.name)}Options", __base__=Strict, **known)


def response_of(task: Offered) -> dict[str, Any]:
    """JSON Schema of its response."""
    usage = {
        "prompt_tokens": {"type": "integer"},
        "completion_tokens": {"type": "integer"},
        "total_tokens": {"type": "integer"},
    }
    properties = {
        "task": {"const": task.name},
        "output": answer_of(task),
        "finish_reason": {"enum": ["stop", "length"]},
        "usage": {"type": "object", "properties": usage},
    }
    return {
        "type": "object",
        "title": f"{_stem(task.name)}Response",
        "properties": properties,
        "required": list(properties),
    }


def answer_of(task: Offered) -> dict[str, Any]:
    """JSON Schema of what comes out."""
    if task.schema:
        return task.schema
    if task.gives == TEXT:
        return {"type": "string"}
    if task.gives:
        return {"description": f"{task.gives}: a data URI, data:TYPE;base64,…, where a plugin writes it to a file"}
    return {}


def _type(column: Column) -> Any:
    if column.kind == TEXT and not column.files:
        return str
    return Annotated[Any, WithJsonSchema(_FILE if column.files else {})]


def _about(column: Column) -> str:
    return f"{column.kind or 'value'} (modality {column.modality})"


def _stem(name: str) -> str:
    return "".join(part.capitalize() for part in re.split(r"\W|_", name) if part) or "Task"


def faults(errors: Sequence[Any], form: Any = None) -> tuple[str, str | None]:
    """What pydantic found in a request of this form, in words without the values that were sent, and the first place."""
    told, places = [], []
    for error in errors[:5]:
        path = [part for part in error["loc"] if part != "body"]
        places.append(".".join(map(str, path))[:100])
        said = str(error["msg"]).removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            names = _names(form, path[:-1])
            said = "there is no such field" + (f": {nearest(str(path[-1])[:100], names)}" if names else "")
        if error["type"] == "json_invalid":
            places[-1], said = "", f"the body is not valid JSON, at character {path[-1]}"
        told.append(f"{places[-1] or 'body'}: {said}")
    return "; ".join(told), next(iter(places), "") or None


def _names(form: Any, path: Sequence[Any]) -> list[str]:
    """The fields at a place of a form."""
    models = [one for one in (form, *get_args(form)) if isinstance(one, type) and issubclass(one, BaseModel)]
    if not models:
        return []
    fields = {field.alias or name: field.annotation for name, field in models[0].model_fields.items()}
    return _names(fields.get(path[0]), path[1:]) if path else list(fields)
