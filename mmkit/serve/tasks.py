"""``/v1/tasks``: every task of the model under its own name, with its own schemas."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel

from mmkit.errors import nearest
from mmkit.model.generate import Made
from mmkit.serve.offer import Offered
from mmkit.serve.refusal import Refusal
from mmkit.serve.schemas import answer_of, field_of, request_of, response_of
from mmkit.serve.service import Service


def add(app: FastAPI, service: Service) -> None:
    """A route a task, and the list of them."""

    @app.get("/v1/tasks", summary="The tasks of the model: what they take and what comes out.")
    async def tasks() -> dict[str, Any]:
        return {"object": "list", "data": [_told(task) for task in service.tasks.values()]}

    for task in service.tasks.values():
        if "{" in task.name:  # would be a pattern of paths
            continue
        body = request_of(task, service.settings)
        app.post(
            f"/v1/tasks/{task.name}",
            summary=f"{task.name}: {task.wants} in.",
            operation_id=f"task_{task.name}",
            response_model=None,
            responses={200: {"content": {"application/json": {"schema": response_of(task)}}}},
        )(_handler(service, task, body))

    @app.post("/v1/tasks/{task}", include_in_schema=False)
    async def unknown(task: str) -> None:
        hint = nearest(task[:100], list(service.tasks))
        raise Refusal(404, "task_not_found", f"there is no task {task[:100]!r}: {hint}")


def _handler(service: Service, task: Offered, body: type[BaseModel]) -> Callable[..., Any]:
    async def run(request: Request, given: Any) -> dict[str, Any]:
        row = {}
        for place, column in enumerate(task.columns):
            value = getattr(given.input, field_of(place))
            row[column.name] = await service.media.value(column, value, f"input.{column.name}")
        options = getattr(given, "options", None)
        answered = await service.ask(request, task, row, options.model_dump(by_alias=True) if options else {})
        made = answered.made[0]
        output = await service.plain(made.value)
        return {
            "task": task.name,
            "output": output,
            "finish_reason": finish(made),
            "usage": usage(answered.tokens, answered.made),
        }

    run.__annotations__["given"] = body
    return run


def _told(task: Offered) -> dict[str, Any]:
    columns = [{"name": column.name, "modality": column.modality, "kind": column.kind} for column in task.columns]
    return {"task": task.name, "columns": columns, "options": list(task.options), "output": answer_of(task)}


def finish(made: Made) -> str:
    """Whether an answer ended by itself."""
    return "stop" if made.whole else "length"


def usage(tokens: int, made: list[Made]) -> dict[str, int]:
    """In the model's own tokens."""
    written = sum(one.ids for one in made)
    return {"prompt_tokens": tokens, "completion_tokens": written, "total_tokens": tokens + written}
