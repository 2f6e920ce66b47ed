"""Free options of ``mmkit predict``: columns of the task, or decoding options of its head, checked by the head's config."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmkit.errors import MmkitError, nearest

if TYPE_CHECKING:
    from mmkit.model.model import Model
    from mmkit.wiring.graph import TaskPlan


def sort_out(model: "Model", task: str, free: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Any]]:
    """``--name value`` pairs → columns, and validated decoding options.

    Raises:
        MmkitError: a name that is neither, or a value that the head refuses.
    """
    from mmkit.model.generate import OPTIONS

    planned, head = model.plan.tasks[task], model.parts.heads[task]
    allowed = [name for name in head.options() if name in OPTIONS]
    columns: dict[str, str] = {}
    options: dict[str, str] = {}
    for given, value in free.items():
        name = given.removeprefix("--")
        column = name if name in planned.columns else name.replace("-", "_")
        if column in planned.columns:
            columns[column] = value
        elif name.replace("-", "_") in allowed:
            options[name.replace("-", "_")] = value
        else:
            raise MmkitError(_unknown(given, planned, allowed))
    return columns, _validated(planned, options)


def dashed(name: str) -> str:
    """How a name is written as an option."""
    return "--" + name.replace("_", "-")


def _unknown(given: str, planned: "TaskPlan", allowed: list[str]) -> str:
    names = [f"--{name}" for name in planned.columns] + [dashed(name) for name in allowed]
    what = f"task {planned.name!r} has no column or decoding option {given}"
    return f"{what}: {nearest(given, names)}"


def _validated(planned: "TaskPlan", given: Mapping[str, str]) -> dict[str, Any]:
    from pydantic import ValidationError

    config = planned.head.config
    fields = type(config).model_fields
    try:
        checked = type(config).model_validate(
            {**config.model_dump(), **{k: v for k, v in given.items() if k in fields}}
        )
    except ValidationError as error:
        faults = []
        for finding in error.errors():
            message = finding["msg"].removeprefix("Value error, ")
            name = str(finding["loc"][0]) if finding["loc"] else ""
            faults.append(f"{dashed(name)} {given[name]}: {message}" if name in given else message)
        raise MmkitError("; ".join(faults)) from None
    return {name: getattr(checked, name) if name in fields else _loose(value) for name, value in given.items()}


def _loose(value: str) -> Any:
    """A number or word for a head whose config does not describe the option."""
    try:
        return json.loads(value)
    except ValueError:
        return value
