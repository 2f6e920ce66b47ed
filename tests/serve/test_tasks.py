"""``/v1/tasks/{task}``: every task under its own name."""

from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from starlette.testclient import TestClient

import mmkit
from mmkit.model.rendering import with_files
from mmkit.serve.media import to_data_uri
from tests.serve.conftest import fault, uri


def test_answers_are_those_of_predict(client: TestClient, model: mmkit.Model, picture: Callable[..., bytes]) -> None:
    answer = client.post("/v1/tasks/shape", json={"input": {"image": uri(picture())}}).json()
    alone = model.predict("shape", {"image": picture()})
    assert answer["output"]["label"] == alone["label"]
    assert answer["output"]["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-5)
    assert {name: answer[name] for name in ("task", "finish_reason", "usage")} == {
        "task": "shape",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 16, "completion_tokens": 0, "total_tokens": 16},
    }


def test_options_and_seed_are_those_of_predict(client: TestClient, model: mmkit.Model) -> None:
    given = {"temperature": 1.0, "seed": 5, "max_new_tokens": 6}
    answer = client.post("/v1/tasks/reply", json={"input": {"question": "what is it"}, "options": given}).json()
    assert answer["output"] == model.predict("reply", {"question": "what is it"}, **given)
    assert (answer["finish_reason"], answer["usage"]["completion_tokens"]) == ("length", 6)
    assert answer["usage"]["prompt_tokens"] == 3


def test_files_come_back_as_data_uris(client: TestClient, model: mmkit.Model) -> None:
    drawn = client.post("/v1/tasks/draw", json={"input": {"word": "dot"}, "options": {"seed": 3}}).json()["output"]
    assert drawn.startswith("data:image/png;base64,")
    assert drawn == with_files(model.predict("draw", {"word": "dot"}, seed=3), to_data_uri)


def test_without_a_seed_what_is_drawn_differs_from_time_to_time(client: TestClient) -> None:
    answers = {client.post("/v1/tasks/draw", json={"input": {"word": "dot"}}).json()["output"] for _ in range(3)}
    assert len(answers) == 3


def test_every_route_of_a_task_is_in_the_openapi_page_with_its_own_schemas(
    client: TestClient, picture: Callable[..., bytes]
) -> None:
    page = client.get("/openapi.json").json()
    operation = page["paths"]["/v1/tasks/shape"]["post"]
    schema = page["components"]["schemas"]["ShapeInput"]
    assert list(schema["properties"]) == ["image"]
    assert schema["required"] == ["image"]
    assert "options" not in page["components"]["schemas"]["ShapeRequest"]["properties"]
    assert set(page["components"]["schemas"]["DrawOptions"]["properties"]) == {"seed"}
    answer = client.post("/v1/tasks/shape", json={"input": {"image": uri(picture())}}).json()
    form = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert form["properties"]["output"]["properties"]["label"] == {"enum": ["dot", "line"]}
    jsonschema.validate(answer, form)
    jsonschema.validate({"input": {"image": uri(picture())}}, {**page, "$ref": "#/components/schemas/ShapeRequest"})


def test_tasks_are_listed(client: TestClient) -> None:
    listed = {task["task"]: task for task in client.get("/v1/tasks").json()["data"]}
    assert list(listed) == ["caption", "reply", "hear", "shape", "draw", "speak", "match"]
    assert listed["caption"]["columns"] == [{"name": "image", "modality": "image", "kind": "image"}]
    assert listed["shape"]["options"] == []
    assert listed["reply"]["output"] == {"type": "string"}


WRONG: list[tuple[str, Any, tuple[int, str, str, str | None]]] = [
    (
        "shapes",
        {"input": {}},
        (404, "task_not_found", "there is no task 'shapes': did you mean 'shape'?", None),
    ),
    (
        "reply",
        {"input": {}},
        (400, "invalid_request", "input.question: Field required", "input.question"),
    ),
    (
        "reply",
        {"input": {"question": "x", "answer": "y"}},
        (400, "invalid_request", "input.answer: there is no such field: allowed: question", "input.answer"),
    ),
    (
        "reply",
        {"input": {"question": 5}},
        (400, "invalid_request", "input.question: Input should be a valid string", "input.question"),
    ),
    (
        "reply",
        {"input": {"question": "x"}, "options": {"temperature": 1e-9}},
        (400, "invalid_request", "options.temperature: 0, or 0.001 to 10", "options.temperature"),
    ),
    (
        "reply",
        {"input": {"question": "x"}, "options": {"max_new_tokens": 10**6}},
        (
            400,
            "invalid_request",
            "options.max_new_tokens: Input should be less than or equal to 2048",
            "options.max_new_tokens",
        ),
    ),
    (
        "reply",
        {"input": {"question": "x"}, "options": {"guidance": 2}},
        (
            400,
            "invalid_option",
            "guidance of task 'reply' needs a model that knows its prompt without columns; "
            "fix: train it with input_dropout: 0.1 in its head",
            None,
        ),
    ),
    (
        "reply",
        {"input": {"question": "x"}, "options": {"beams": 2, "temperature": 1}},
        (
            400,
            "invalid_option",
            "decoding options beams > 1 and temperature > 0 exclude each other: beam search does not sample",
            None,
        ),
    ),
    (
        "shape",
        {"input": {"image": "x"}, "options": {"seed": 1}},
        (400, "invalid_request", "options: there is no such field: allowed: input", "options"),
    ),
    (
        "reply",
        {"input": {"question": "half \ud83d"}},
        (
            400,
            "invalid_value",
            "column 'question': text has half a surrogate pair, U+D83D, at character 5, which is no Unicode text; read its "
            "file with errors='replace'",
            None,
        ),
    ),
]


@pytest.mark.parametrize(("task", "body", "expected"), WRONG, ids=[expected[2][:30] for _, _, expected in WRONG])
def test_what_is_wrong_is_told(client: TestClient, task: str, body: Any, expected: tuple[Any, ...]) -> None:
    import json

    response = client.post(f"/v1/tasks/{task}", content=json.dumps(body), headers={"content-type": "application/json"})
    assert fault(response) == expected
