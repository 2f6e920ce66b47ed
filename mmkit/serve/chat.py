"""``/v1/chat/completions``."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response, StreamingResponse

from mmkit.model.generate import Made
from mmkit.model.streaming import Piece
from mmkit.serve.chat_form import Chat, chosen, parts_of
from mmkit.serve.offer import TEXT, Offered
from mmkit.serve.refusal import Refusal, bad, body_of
from mmkit.serve.service import Service
from mmkit.serve.tasks import finish, usage

JSON_OBJECT, JSON_SCHEMA = "json_object", "json_schema"


def add(app: FastAPI, service: Service) -> None:
    """The route."""

    @app.post("/v1/chat/completions", response_model=None, summary="The task that fits the message answers.")
    async def completions(request: Request, chat: Chat) -> dict[str, Any] | Response:
        chat.refuse_what_cannot_be_had()
        parts, system = parts_of(chat, service.settings.max_parts)
        task, filled = chosen(service.choice, chat.model, parts, system)
        options = {**chat.options(), "schema": _schema(chat, task)}
        count = chat.n or 1
        if count > service.settings.max_choices:
            raise bad("invalid_option", f"n is {count}; at most {service.settings.max_choices} is taken", "n")
        row = {column.name: await part.raw(column, service.media) for column, part in filled}
        if chat.stream:
            if count > 1:
                raise bad("unsupported", "n above 1 cannot be streamed", "n")
            return await _streamed(request, service, chat, task, row, options)
        answered = await service.ask(request, task, row, options, count)
        choices = [await _choice(service, task, index, made) for index, made in enumerate(answered.made)]
        return {
            **_head(request, chat, "chat.completion"),
            "choices": choices,
            "usage": usage(answered.tokens, answered.made),
        }


def _head(request: Request, chat: Chat, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{request.scope['mmkit']['id']}",
        "object": kind,
        "created": int(time.time()),
        "model": chat.model,
    }


def _schema(chat: Chat, task: Offered) -> dict[str, Any] | None:
    """What the answer is held to. JSON is promised only where it is certain.

    Raises:
        Refusal: a form that the task does not give.
    """
    form = chat.response_format or {"type": "text"}
    kind = form.get("type")
    if kind == "text" or (kind == JSON_OBJECT and task.schema.get("type") == "object"):
        return None
    if kind not in (JSON_OBJECT, JSON_SCHEMA):
        message = f"response_format.type is text, {JSON_OBJECT} or {JSON_SCHEMA}"
    elif not task.spells:
        message = f"task {task.name!r} cannot be held to {kind}: it writes no text by a vocabulary, and answers in its own form"
    elif kind == JSON_OBJECT:
        return {"type": "object"}
    else:
        about = form.get(JSON_SCHEMA)
        schema = about.get("schema") if isinstance(about, dict) else None
        if isinstance(schema, dict):
            return schema
        message = f"response_format.{JSON_SCHEMA}.schema: a JSON Schema, an object, is needed"
    raise bad("unsupported_response_format", message, "response_format")


async def _choice(service: Service, task: Offered, index: int, made: Made) -> dict[str, Any]:
    content, parts = await told(service, task, made.value)
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if parts:
        message["x_parts"] = parts
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish(made)}


async def told(service: Service, task: Offered, value: Any) -> tuple[str, list[dict[str, Any]]]:
    """A value as the text of a message, and as parts where it is more than text."""
    if isinstance(value, str) or value is None:
        return value or "", []
    if not task.generates and not task.gives:
        return json.dumps(await service.plain(value), ensure_ascii=False), []
    values = value if isinstance(value, list) else [{task.gives or TEXT: value}]
    parts = [{"modality": name, "value": await service.plain(one)} for pair in values for name, one in pair.items()]
    texts = [
        part["value"] for pair, part in zip(values, parts, strict=True) if isinstance(next(iter(pair.values())), str)
    ]
    return " ".join(texts), parts


async def _streamed(
    request: Request, service: Service, chat: Chat, task: Offered, row: dict[str, Any], options: dict[str, Any]
) -> Response:
    if task.generates:
        tokens, pieces = await service.stream(request, task, row, options)
    else:
        answered = await service.ask(request, task, row, options)
        tokens, pieces = answered.tokens, _once(answered.made[0])
    events = _events(request, service, chat, task, tokens, pieces)
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _once(made: Made) -> AsyncIterator[Piece]:
    yield Piece("", made.value, last=True, ids=made.ids, whole=made.whole)


async def _events(
    request: Request, service: Service, chat: Chat, task: Offered, tokens: int, pieces: AsyncIterator[Piece]
) -> AsyncIterator[str]:
    head, counted = (
        _head(request, chat, "chat.completion.chunk"),
        bool(chat.stream_options and chat.stream_options.include_usage),
    )

    def chunk(delta: dict[str, Any], reason: str | None = None) -> str:
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]
        return event({**head, "choices": choices, **({"usage": None} if counted else {})})

    async with aclosing(pieces) as given:  # type: ignore[type-var]
        yield chunk({"role": "assistant", "content": ""})
        try:
            async for piece in given:
                content, parts = await told(service, task, piece.value)
                if content or parts:
                    yield chunk({"content": content, **({"x_parts": parts} if parts else {})})
                if piece.last:
                    yield chunk({}, "stop" if piece.whole else "length")
                    if counted:
                        yield event({**head, "choices": [], "usage": usage(tokens, [Made(None, piece.ids)])})
        except Refusal as refusal:
            yield event(body_of(refusal.status_code, refusal.code, refusal.message, refusal.param))
    yield "data: [DONE]\n\n"


def event(content: Any) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(content, ensure_ascii=False, allow_nan=False)}\n\n"
