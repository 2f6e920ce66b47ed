"""``/v1/audio/transcriptions``: a task that writes text of a sound."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import FastAPI, Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from mmkit.model.generate import Made
from mmkit.model.streaming import Piece
from mmkit.serve.making import Decoding
from mmkit.serve.offer import TEXT, Offered
from mmkit.serve.refusal import Refusal, bad, body_of
from mmkit.serve.schemas import faults
from mmkit.serve.service import Service
from mmkit.serve.tasks import usage

_FORMATS = ("json", "text")
_FIELDS = 20


class Form(Decoding):
    """The fields beside the file."""

    model: str
    language: str | None = None
    prompt: str | None = None
    response_format: str = "json"
    stream: bool = False


_BODY = {
    "type": "object",
    "properties": {"file": {"type": "string", "format": "binary"}, **Form.model_json_schema()["properties"]},
    "required": ["file", "model"],
}


def add(app: FastAPI, service: Service) -> None:
    """The route."""
    content = {"multipart/form-data": {"schema": _BODY}}

    @app.post(
        "/v1/audio/transcriptions",
        response_model=None,
        summary="The task that writes text of a sound.",
        openapi_extra={"requestBody": {"content": content, "required": True}},
    )
    async def transcriptions(request: Request) -> dict[str, Any] | Response:
        async with request.form(max_files=1, max_fields=_FIELDS, max_part_size=service.settings.max_body) as form:
            sound, given = await _read(form)
        if given.response_format not in _FORMATS:
            message = f"response_format is json or text: there are no times to tell {given.response_format[:20]!r} with"
            raise bad("unsupported", message, "response_format")
        task, row = _chosen(service, given, sound)
        if given.stream and task.generates:
            tokens, pieces = await service.stream(request, task, row, given.decoding())
            return StreamingResponse(_events(service, tokens, pieces), media_type="text/event-stream")
        answered = await service.ask(request, task, row, given.decoding())
        text = answered.made[0].value
        if given.stream:
            return StreamingResponse(
                _events(service, answered.tokens, _once(answered.made[0])), media_type="text/event-stream"
            )
        if given.response_format == "text":
            return PlainTextResponse(text)
        return {"text": text, "usage": _usage(answered.tokens, answered.made)}


async def _read(form: FormData) -> tuple[bytes, Form]:
    """The file and the fields.

    Raises:
        Refusal: one is missing, or has not its form.
    """
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise bad("invalid_request", "file: a sound is needed, as a file of the form", "file")
    fields = {name.removesuffix("[]"): value for name, value in form.items() if name != "file"}
    try:
        given = Form.model_validate(fields)
    except ValidationError as error:
        raise bad("invalid_request", *faults(error.errors(), Form)) from None
    content = await file.read()
    if not content:
        raise bad("invalid_media", "file: empty (0 bytes)", "file")
    return content, given


def _chosen(service: Service, given: Form, sound: bytes) -> tuple[Offered, dict[str, Any]]:
    """The task that takes a sound, and columns ``language`` and ``prompt`` where they are given.

    Raises:
        Refusal: there is none, or there are several.
    """
    named = {name: value for name, value in (("language", given.language), ("prompt", given.prompt)) if value}
    able = [task for task in service.choice.among(given.model) if task.gives == TEXT]
    rows = {}
    for task in able:
        rest = [column for column in task.columns if column.name not in named]
        if len(rest) == 1 and rest[0].kind == "audio" and len(task.columns) == 1 + len(named):
            rows[task.name] = {rest[0].name: sound, **named}
    brought = " and ".join(["1 audio", *named])
    chosen = service.choice.one(able, [task for task in able if task.name in rows], brought, "that writes text")
    return chosen, rows[chosen.name]


def _usage(tokens: int, made: list[Made]) -> dict[str, Any]:
    counted = usage(tokens, made)
    told = {"input_tokens": counted["prompt_tokens"], "output_tokens": counted["completion_tokens"]}
    return {"type": "tokens", **told, "total_tokens": counted["total_tokens"]}


async def _once(made: Made) -> AsyncIterator[Piece]:
    yield Piece(TEXT, made.value, last=True, ids=made.ids)


async def _events(service: Service, tokens: int, pieces: AsyncIterator[Piece]) -> AsyncIterator[str]:
    text = ""
    async with aclosing(pieces) as given:  # type: ignore[type-var]
        try:
            async for piece in given:
                text += piece.value
                if piece.value:
                    yield _event({"type": "transcript.text.delta", "delta": piece.value})
                if piece.last:
                    counted = _usage(tokens, [Made(None, piece.ids)])
                    yield _event({"type": "transcript.text.done", "text": text, "usage": counted})
        except Refusal as refusal:
            yield _event(body_of(refusal.status_code, refusal.code, refusal.message, refusal.param))
    yield "data: [DONE]\n\n"


def _event(content: Any) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
