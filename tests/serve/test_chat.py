"""``/v1/chat/completions``: which task a message means, and what comes back."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

import mmkit
from tests.serve.conftest import ask, fault, picture_part

CHAT = "/v1/chat/completions"


def test_the_task_whose_columns_fit_the_parts_answers(
    client: TestClient, model: mmkit.Model, picture: Callable[..., bytes], sound: Callable[..., bytes]
) -> None:
    drawn = {"temperature": 1.0, "seed": 2}
    audio = {"type": "input_audio", "input_audio": {"data": base64.b64encode(sound()).decode(), "format": "wav"}}
    for parts, task, row in (
        (["what is it"], "reply", {"question": "what is it"}),
        ([picture_part(picture())], "caption", {"image": picture()}),
        ([audio], "hear", {"audio": sound()}),
    ):
        answer = client.post(CHAT, json=ask(*parts, **drawn)).json()
        assert answer["choices"][0]["message"]["content"] == model.predict(task, row, **drawn)
        assert answer["object"] == "chat.completion"
        assert answer["model"] == "tiny"
        assert (
            answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
        )


def test_a_part_may_name_a_modality_or_a_kind(
    client: TestClient, model: mmkit.Model, picture: Callable[..., bytes]
) -> None:
    content = base64.b64encode(picture()).decode()
    for value in ({"data": content}, f"data:image/png;base64,{content}"):
        answer = client.post(CHAT, json=ask({"type": "x-image", "x-image": value}, temperature=1, seed=1)).json()
        assert answer["choices"][0]["message"]["content"] == model.predict(
            "caption", {"image": picture()}, temperature=1, seed=1
        )


def test_several_texts_are_one_where_there_is_one_column(client: TestClient, model: mmkit.Model) -> None:
    texts = [{"type": "text", "text": "what"}, {"type": "text", "text": "is it"}]
    answer = client.post(CHAT, json=ask(*texts, temperature=1, seed=1)).json()
    expected = model.predict("reply", {"question": "what\nis it"}, temperature=1, seed=1)
    assert answer["choices"][0]["message"]["content"] == expected


def test_choices_are_drawn_with_seeds_that_follow_one_another(client: TestClient, model: mmkit.Model) -> None:
    answer = client.post(CHAT, json=ask("what is it", temperature=1, seed=7, n=3)).json()
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert texts == [model.predict("reply", {"question": "what is it"}, temperature=1, seed=seed) for seed in (7, 8, 9)]


def test_a_named_task_that_writes_no_text_answers_in_json(
    client: TestClient, model: mmkit.Model, picture: Callable[..., bytes]
) -> None:
    asked = ask(picture_part(picture()), model="tiny/shape", response_format={"type": "json_object"})
    content = json.loads(client.post(CHAT, json=asked).json()["choices"][0]["message"]["content"])
    assert content["label"] == model.predict("shape", {"image": picture()})["label"]


def test_a_named_task_that_makes_a_file_gives_it_as_a_part(client: TestClient) -> None:
    message = client.post(CHAT, json=ask("dot", model="tiny/draw")).json()["choices"][0]["message"]
    assert message["content"] == ""
    assert message["x_parts"][0]["modality"] == "image"
    assert message["x_parts"][0]["value"].startswith("data:image/png;base64,")


def events(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.strip().split("\n\n")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_a_stream_says_the_same_piece_by_piece_and_counts_its_tokens(client: TestClient, model: mmkit.Model) -> None:
    asked = ask("what is it", temperature=1, seed=4, stream=True, stream_options={"include_usage": True})
    response = client.post(CHAT, json=asked)
    assert response.headers["content-type"].startswith("text/event-stream")
    found = events(response.text)
    pieces = [choice["delta"].get("content", "") for event in found for choice in event["choices"]]
    assert "".join(pieces) == model.predict("reply", {"question": "what is it"}, temperature=1, seed=4)
    assert len([piece for piece in pieces if piece]) > 1
    whole = client.post(CHAT, json=ask("what is it", temperature=1, seed=4)).json()
    assert found[-1]["usage"] == whole["usage"]
    assert found[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]


def test_a_task_that_does_not_generate_is_streamed_as_one_piece(
    client: TestClient, picture: Callable[..., bytes]
) -> None:
    asked = ask(picture_part(picture()), model="tiny/shape", stream=True)
    found = events(client.post(CHAT, json=asked).text)
    assert json.loads(found[1]["choices"][0]["delta"]["content"])["label"] in ("dot", "line")
    assert found[2]["choices"][0]["finish_reason"] == "stop"


UNFIT = "no task that writes text takes 2 images: caption takes 1 image; reply takes 1 text; hear takes 1 audio"
ONE = "a task of mmkit takes one user message, and a system message where it has a column for it; put the conversation into"
WRONG: list[tuple[dict[str, Any], tuple[int, str, str, str | None]]] = [
    (
        ask("x", model="other"),
        (
            404,
            "model_not_found",
            "there is no model 'other': allowed: tiny, tiny/caption, tiny/draw, "
            "tiny/hear, tiny/match, tiny/reply, tiny/shape, tiny/speak",
            "model",
        ),
    ),
    (
        ask({"type": "x-image", "x-image": ""}, {"type": "x-image", "x-image": ""}),
        (400, "no_task_fits", UNFIT, "model"),
    ),
    (
        ask("x", model="tiny/caption"),
        (400, "no_task_fits", "no task of that name takes 1 text: caption takes 1 image", "model"),
    ),
    (ask("x", stop=["."]), (400, "unsupported", "stop is not supported: a task of mmkit has nothing like it", "stop")),
    (
        ask("x", tools=[{}]),
        (400, "unsupported", "tools is not supported: a task of mmkit has nothing like it", "tools"),
    ),
    (ask("x", n=9), (400, "invalid_option", "n is 9; at most 8 is taken", "n")),
    (ask("x", n=2, stream=True), (400, "unsupported", "n above 1 cannot be streamed", "n")),
    (
        ask("x", beams=2, stream=True),
        (400, "invalid_option", "beams > 1 cannot be streamed: which text wins is known at the end", "stream"),
    ),
    (
        ask("x", max_tokens=5000),
        (400, "invalid_option", "max_new_tokens is 5000; at most 2048 is taken", "max_new_tokens"),
    ),
    (
        ask("x", temprature=1),
        (400, "invalid_request", "temprature: there is no such field: did you mean 'temperature'?", "temprature"),
    ),
    (
        ask("x", response_format={"type": "xml"}),
        (
            400,
            "unsupported_response_format",
            "response_format.type is text, json_object or json_schema",
            "response_format",
        ),
    ),
    (
        ask("x", response_format={"type": "json_schema"}),
        (
            400,
            "unsupported_response_format",
            "response_format.json_schema.schema: a JSON Schema, an object, is needed",
            "response_format",
        ),
    ),
    (
        ask("x", modalities=["text", "audio"]),
        (400, "unsupported", 'modalities: what comes out is the task\'s; leave it out, or say ["text"]', "modalities"),
    ),
    (
        ask({"type": "file", "file": {}}),
        (
            400,
            "unknown_part",
            "messages.0.content.0.type: a part is text, image_url, input_audio, or x- and a modality",
            "messages.0.content.0.type",
        ),
    ),
    (
        ask({"type": "text"}),
        (400, "invalid_part", "messages.0.content.0.text: a text is needed", "messages.0.content.0.text"),
    ),
    (
        ask({"type": "image_url", "image_url": {}}),
        (
            400,
            "invalid_part",
            'messages.0.content.0.image_url: {"url": "data:TYPE;base64,…"} is needed',
            "messages.0.content.0.image_url",
        ),
    ),
    (
        ask(*[{"type": "text", "text": ""}] * 65),
        (400, "too_many_parts", "messages.0.content: 65 parts; at most 64 are taken", "messages.0.content"),
    ),
    (
        {"model": "tiny", "messages": [{"role": "assistant", "content": "x"}, {"role": "user", "content": "x"}]},
        (400, "unsupported_messages", f"messages.0: {ONE} that message", "messages"),
    ),
    (
        {"model": "tiny", "messages": [{"role": "system", "content": "x"}]},
        (400, "unsupported_messages", "messages: there is no user message", "messages"),
    ),
    (
        {"model": "tiny", "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "x"}]},
        (
            400,
            "no_task_fits",
            "no task that writes text takes 1 text and a system message: caption takes 1 image; reply takes 1 "
            "text; hear takes 1 audio",
            "model",
        ),
    ),
    (
        {"model": "tiny", "messages": []},
        (400, "invalid_request", "messages: List should have at least 1 item after validation, not 0", "messages"),
    ),
]


@pytest.mark.parametrize(("asked", "expected"), WRONG, ids=[f"{n}-{e[1]}" for n, (_, e) in enumerate(WRONG)])
def test_what_cannot_be_answered_is_refused_with_the_reason(
    client: TestClient, asked: Any, expected: tuple[Any, ...]
) -> None:
    assert fault(client.post(CHAT, json=asked)) == expected


def test_several_tasks_that_fit_are_named(serve: Any, model: mmkit.Model) -> None:
    from tests.serve.small import TEXTS

    task = {"input": "{text}", "output": "{text}", "head": "generate"}
    spec = {
        "mmkit": 1,
        "modalities": {"text": {"adapter": "words"}},
        "backbone": {"use": "transformer", "dim": 16, "layers": 1, "heads": 2},
        "tasks": {"a": task, "b": {**task, "input": "{system} {text}", "columns": {"system": "text"}}, "c": task},
    }
    with serve(mmkit.build(spec, fit={"text": TEXTS})) as client:
        assert fault(client.post(CHAT, json=ask("x"))) == (
            400,
            "several_tasks_fit",
            "more than one task that writes text takes 1 text; say which one as model: tiny/a, tiny/c",
            "model",
        )
        asked = {
            "model": "tiny",
            "messages": [{"role": "system", "content": "one"}, {"role": "user", "content": "two"}],
        }
        assert client.post(CHAT, json=asked).json()["usage"]["prompt_tokens"] == 2
