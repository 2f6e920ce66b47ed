"""``/v1/audio/speech`` and ``/v1/images/generations``: a task that makes a file of a text."""

import base64
import time
from typing import Any, Literal

from fastapi import FastAPI, Request
from starlette.responses import Response

from mmkit.serve.media import media_type
from mmkit.serve.offer import TEXT, Offered
from mmkit.serve.refusal import Refusal, bad
from mmkit.serve.schemas import Count, Guidance, Seed, Share, Strict, Temperature
from mmkit.serve.service import Service
from mmkit.serve.tasks import usage


class Decoding(Strict):
    """Options of mmkit beside OpenAI's."""

    seed: Seed | None = None
    temperature: Temperature | None = None
    top_k: Count | None = None
    top_p: Share | None = None
    guidance: Guidance | None = None
    max_new_tokens: Count | None = None

    def decoding(self) -> dict[str, Any]:
        """Those that were given."""
        return {name: getattr(self, name) for name in Decoding.model_fields}


class Speech(Decoding):
    """What ``/v1/audio/speech`` takes."""

    model: str
    input: str
    voice: str | dict[str, Any] | None = None
    instructions: str | None = None
    response_format: str | None = None
    speed: float | None = None
    stream_format: Literal["audio"] | None = None


class Picture(Decoding):
    """What ``/v1/images/generations`` takes."""

    model: str
    prompt: str
    n: Count | None = None
    response_format: Literal["b64_json", "url"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    size: str | None = None
    quality: str | None = None
    style: str | None = None
    background: str | None = None
    moderation: str | None = None
    output_compression: int | None = None
    partial_images: int | None = None
    stream: bool | None = None
    user: str | None = None


def add(app: FastAPI, service: Service) -> None:
    """The routes."""

    @app.post("/v1/audio/speech", response_class=Response, summary="The task that makes sound of a text.")
    async def speech(request: Request, given: Speech) -> Response:
        extra = {"voice": given.voice if isinstance(given.voice, str) else None, "instructions": given.instructions}
        task, row = written(service, given.model, "audio", given.input, extra)
        if given.instructions and "instructions" not in row:
            raise bad("unsupported", f"instructions: task {task.name!r} has no such column", "instructions")
        if given.speed not in (None, 1.0):
            raise bad("unsupported", "speed: a task of mmkit has one speed", "speed")
        answered = await service.ask(request, task, row, given.decoding())
        suffix, content = await _file(service, task, answered.made[0].value)
        if given.response_format not in (None, suffix):
            raise bad("unsupported", f"response_format: what is made here is {suffix}", "response_format")
        return Response(content, media_type=media_type(suffix))

    @app.post("/v1/images/generations", summary="The task that makes pictures of a text.")
    async def pictures(request: Request, given: Picture) -> dict[str, Any]:
        _refuse(given, service.settings.max_choices)
        task, row = written(service, given.model, "image", given.prompt, {})
        answered = await service.ask(request, task, row, given.decoding(), given.n or 1)
        files = [await _file(service, task, made.value) for made in answered.made]
        if given.output_format not in (None, files[0][0]):
            raise bad("unsupported", f"output_format: what is made here is {files[0][0]}", "output_format")
        counted = usage(answered.tokens, answered.made)
        data = [{"b64_json": base64.b64encode(content).decode()} for _, content in files]
        told = {"input_tokens": counted["prompt_tokens"], "output_tokens": counted["completion_tokens"]}
        return {"created": int(time.time()), "data": data, "usage": {**told, "total_tokens": counted["total_tokens"]}}


def written(
    service: Service, model: str, kind: str, text: str, extra: dict[str, str | None]
) -> tuple[Offered, dict[str, Any]]:
    """The task that makes this kind of value of one text, and its row. Columns of the names in ``extra`` are filled where a task
    has them.

    Raises:
        Refusal: there is none, or there are several.
    """
    able = [task for task in service.choice.among(model) if task.gives == kind]
    rows = {}
    for task in able:
        rest = [column for column in task.columns if not (column.name in extra and extra[column.name] is not None)]
        if len(rest) == 1 and rest[0].kind == TEXT:
            named = {column.name: extra[column.name] for column in task.columns if column not in rest}
            rows[task.name] = {**named, rest[0].name: text}
    chosen = service.choice.one(able, [task for task in able if task.name in rows], "1 text", f"that makes {kind}")
    return chosen, rows[chosen.name]


def _refuse(given: Picture, most: int) -> None:
    """What cannot be had."""
    if (given.n or 1) > most:
        raise bad("invalid_option", f"n is {given.n}; at most {most} is taken", "n")
    if given.response_format == "url":
        raise bad(
            "unsupported",
            "response_format: pictures are sent as b64_json; there is no place for a URL",
            "response_format",
        )
    for name in ("size", "quality", "style", "background"):
        if getattr(given, name) not in (None, "auto"):
            raise bad("unsupported", f"{name}: it is the model's own; leave it out", name)
    for name in ("stream", "partial_images", "output_compression"):
        if getattr(given, name):
            raise bad("unsupported", f"{name} is not supported", name)


async def _file(service: Service, task: Offered, value: Any) -> tuple[str, bytes]:
    """The one file that a value becomes."""
    files = await service.files(value)
    if len(files) != 1:
        raise Refusal(500, "model_failed", f"task {task.name!r} made {len(files)} files, one was wanted")
    return files[0]
