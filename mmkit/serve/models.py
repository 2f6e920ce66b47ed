"""``/v1/models``: the model, and the model with each of its tasks."""

import time
from typing import Any

from fastapi import FastAPI

from mmkit.serve.service import Service


def add(app: FastAPI, service: Service) -> None:
    """The routes."""
    since = int(time.time())

    def told(name: str) -> dict[str, Any]:
        task = service.tasks.get(name.removeprefix(f"{service.choice.name}/"))
        about = {} if task is None else {"x_task": {"takes": task.wants, "gives": task.gives or "json"}}
        return {"id": name, "object": "model", "created": since, "owned_by": "mmkit", **about}

    @app.get("/v1/models", summary="What the field model may be.")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [told(name) for name in service.choice.names]}

    @app.get("/v1/models/{name:path}", summary="One of them.")
    async def model(name: str) -> dict[str, Any]:
        service.choice.among(name)
        return told(name)
