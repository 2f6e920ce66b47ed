"""``/v1/embeddings``: a task with a head that gives the embedding of one node alone."""

import base64
from typing import Any, Literal

import numpy as np
from fastapi import FastAPI, Request

from mmkit.serve.chat_form import Part, part_of
from mmkit.serve.offer import TEXT, Column, Offered
from mmkit.serve.refusal import bad
from mmkit.serve.schemas import Strict
from mmkit.serve.service import Service


class Embeddings(Strict):
    """The request; beside texts, parts of a chat message may be embedded."""

    model: str
    input: str | dict[str, Any] | list[Any]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None


def add(app: FastAPI, service: Service) -> None:
    """The route."""

    @app.post("/v1/embeddings", summary="The task that embeds what is sent.")
    async def embeddings(request: Request, given: Embeddings) -> dict[str, Any]:
        parts = _parts(given.input, service.settings.max_parts)
        able = [task for task in service.choice.among(given.model) if task.embeds]
        fitting = [task for task in able if _column(task, parts[0].label)]
        task = service.choice.one(able, fitting, parts[0].label, "that embeds")
        column = _column(task, parts[0].label)
        assert column is not None
        values = [await part.raw(column, service.media) for part in parts]
        answered = await service.embed(request, task, column.name, values)
        vectors = [made.value for made in answered.made]
        if given.dimensions not in (None, len(vectors[0])):
            raise bad(
                "unsupported", f"dimensions: embeddings of task {task.name!r} have {len(vectors[0])}", "dimensions"
            )
        data = [
            {"object": "embedding", "index": index, "embedding": _told(vector, given.encoding_format)}
            for index, vector in enumerate(vectors)
        ]
        counted = {"prompt_tokens": answered.tokens, "total_tokens": answered.tokens}
        return {"object": "list", "data": data, "model": given.model, "usage": counted}


def _parts(given: str | dict[str, Any] | list[Any], most: int) -> list[Part]:
    """The values, all of one kind.

    Raises:
        Refusal: none, too many, of several kinds, or no values at all.
    """
    values = given if isinstance(given, list) else [given]
    if not 1 <= len(values) <= most:
        raise bad("invalid_request", f"input: {len(values)} values; 1 to {most} are taken", "input")
    parts = []
    for place, value in enumerate(values):
        where = f"input.{place}" if isinstance(given, list) else "input"
        if isinstance(value, str):
            parts.append(Part(TEXT, value, where))
        elif isinstance(value, dict):
            parts.append(part_of(value, where))
        else:
            raise bad("invalid_request", f"{where}: a text, or a part as in a chat message; ids are not taken", where)
    if len({part.label for part in parts}) > 1:
        raise bad("invalid_request", "input: values of one kind at once", "input")
    return parts


def _column(task: Offered, label: str) -> Column | None:
    return next((column for column in task.columns if column.name in task.embeds and column.takes(label)), None)


def _told(vector: list[float], form: str | None) -> list[float] | str:
    """Numbers, or the base64 of little-endian float32 as OpenAI's clients ask for."""
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode() if form == "base64" else vector
