"""What ``/v1/chat/completions`` takes, and which task a conversation means."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mmkit.serve.media import Media
from mmkit.serve.offer import TEXT, Choice, Column, Offered, listed
from mmkit.serve.refusal import bad
from mmkit.serve.schemas import Count, Guidance, Penalty, Seed, Share, Strict, Temperature

NAMED: dict[str, str] = {"text": TEXT, "image_url": "image", "input_audio": "audio"}
"""Part types of OpenAI's API → the kind of value that components say they read. Any other kind is ``x-KIND``."""
SYSTEM = "system"


class Message(BaseModel):
    """One message; fields that say nothing about its content are left aside."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None


class Usage(Strict):
    """``stream_options``."""

    include_usage: bool = False
    include_obfuscation: bool = False


class Chat(Strict):
    """The request. What would change the answer and cannot be had is refused; what would not is let go."""

    model: str
    messages: list[Message] = Field(min_length=1)
    n: Count | None = None
    seed: Seed | None = None
    stream: bool | None = None
    stream_options: Usage | None = None
    temperature: Temperature | None = None
    top_p: Share | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    response_format: dict[str, Any] | None = None
    top_k: Count | None = None
    beams: Count | None = None
    length_penalty: Penalty | None = None
    guidance: Guidance | None = None
    stop: str | list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    function_call: Any = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None
    user: Any = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    parallel_tool_calls: Any = None
    prompt_cache_key: Any = None
    safety_identifier: Any = None

    def options(self) -> dict[str, Any]:
        """In mmkit's names."""
        most = self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens
        kept = ("seed", "temperature", "top_p", "top_k", "beams", "length_penalty", "guidance")
        return {"max_new_tokens": most, **{name: getattr(self, name) for name in kept}}

    def refuse_what_cannot_be_had(self) -> None:
        """Say so, instead of answering as if it had not been asked for.

        Raises:
            Refusal: the first of them.
        """
        wanted = {
            "stop": self.stop,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "logit_bias": self.logit_bias,
            "logprobs": self.logprobs,
            "top_logprobs": self.top_logprobs,
            "tools": self.tools,
            "functions": self.functions,
            "audio": self.audio,
            "prediction": self.prediction,
            "web_search_options": self.web_search_options,
        }
        for name, value in wanted.items():
            if value:
                raise bad("unsupported", f"{name} is not supported: a task of mmkit has nothing like it", name)
        if self.modalities not in (None, [], ["text"]):
            raise bad(
                "unsupported", 'modalities: what comes out is the task\'s; leave it out, or say ["text"]', "modalities"
            )


@dataclass(frozen=True)
class Part:
    """A piece of content: its label, a kind of value or a modality of the spec, and its place in the request."""

    label: str
    value: Any
    place: str

    async def raw(self, column: Column, media: Media) -> Any:
        """The raw value for its column.

        Raises:
            Refusal: it has not the form of its type, or cannot be used.
        """
        return await media.value(column, self.value, self.place)


def parts_of(chat: Chat, most: int) -> tuple[list[Part], Part | None]:
    """The parts of the one user message, and what the system message says.

    Raises:
        Refusal: there is more than that, or a part is not well-formed.
    """
    system: Part | None = None
    found: list[Part] | None = None
    for place, message in enumerate(chat.messages):
        where = f"messages.{place}.content"
        if message.role in ("system", "developer") and system is None:
            texts = [str(part.value) for part in _parts(message, where, most) if part.label == TEXT]
            system = Part(TEXT, "\n".join(texts), where)
        elif message.role == "user" and found is None:
            found = _parts(message, where, most)
        else:
            text = "a task of mmkit takes one user message, and a system message where it has a column for it"
            raise bad(
                "unsupported_messages", f"messages.{place}: {text}; put the conversation into that message", "messages"
            )
    if found is None:
        raise bad("unsupported_messages", "messages: there is no user message", "messages")
    return found, system


def _parts(message: Message, where: str, most: int) -> list[Part]:
    if message.content is None or isinstance(message.content, str):
        return [Part(TEXT, message.content or "", where)]
    if len(message.content) > most:
        raise bad("too_many_parts", f"{where}: {len(message.content)} parts; at most {most} are taken", where)
    return [part_of(part, f"{where}.{place}") for place, part in enumerate(message.content)]


def part_of(part: Mapping[str, Any], where: str) -> Part:
    """A part of a message.

    Raises:
        Refusal: its type is not known, or its value has another form.
    """
    kind = part.get("type")
    known = ", ".join(NAMED)
    if not isinstance(kind, str) or (kind not in NAMED and not kind.startswith("x-")):
        raise bad("unknown_part", f"{where}.type: a part is {known}, or x- and a modality", f"{where}.type")
    value, place = part.get(kind), f"{where}.{kind}"
    if kind == "text":
        if not isinstance(value, str):
            raise bad("invalid_part", f"{place}: a text is needed", place)
    elif kind == "image_url":
        value = value.get("url") if isinstance(value, Mapping) else value
        if not isinstance(value, str):
            raise bad("invalid_part", f'{place}: {{"url": "data:TYPE;base64,…"}} is needed', place)
    elif kind == "input_audio":
        data = value.get("data") if isinstance(value, Mapping) else None
        if not isinstance(data, str):
            raise bad("invalid_part", f'{place}: {{"data": base64, "format": …}} is needed', place)
        value = {"data": data}
    elif kind not in part:
        raise bad("invalid_part", f"{place}: the value is missing", place)
    return Part(NAMED.get(kind, kind.removeprefix("x-")), value, place)


def chosen(
    choice: Choice, model: str, parts: list[Part], system: Part | None
) -> tuple[Offered, list[tuple[Column, Part]]]:
    """The task that a message means, and the part of every column.

    Of tasks that ``model`` may mean, the one whose columns match the parts one to one, by modality and in order. Without a task's
    name only tasks that write text are meant.

    Raises:
        Refusal: none fits, or several do.
    """
    able = choice.among(model)
    which = "of that name"
    if model == choice.name:
        able, which = [task for task in able if task.generates and task.gives in (TEXT, "")], "that writes text"
    fitting = {task.name: found for task in able if (found := filled(task, parts, system)) is not None}
    brought = listed(part.label for part in parts) + (" and a system message" if system else "")
    task = choice.one(able, [task for task in able if task.name in fitting], brought, which)
    return task, fitting[task.name]


def filled(task: Offered, parts: list[Part], system: Part | None) -> list[tuple[Column, Part]] | None:
    """The part of every column; several texts in a row are one where the task has one text column."""
    found: list[tuple[Column, Part]] = []
    columns = list(task.columns)
    if system is not None:
        own = task.column(SYSTEM)
        if own is None or own.kind != TEXT:
            return None
        found.append((own, system))
        columns.remove(own)
    texts = [part for part in parts if part.label == TEXT]
    if len(texts) > 1 and sum(column.kind == TEXT for column in columns) == 1:
        joined = Part(TEXT, "\n".join(part.value for part in texts), texts[0].place)
        parts = [joined if part is texts[0] else part for part in parts if part is texts[0] or part.label != TEXT]
    rest = Offered(task.name, tuple(columns), "", False, False, (), {}, {}).filled([part.label for part in parts])
    return None if rest is None else [*found, *zip(rest, parts, strict=True)]
