"""Answers held to the JSON Schema of a request."""

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema
import openai
import pytest
from starlette.testclient import TestClient

import mmkit
from mmkit.model import json_grammar
from mmkit.serve import held
from tests.serve.conftest import Serve, ask, fault, picture_part

CHAT = "/v1/chat/completions"
SIGNS = '{"a": [1, 2.5, -3, true, false, null]} bcdefghijklmnopqrstuvwxyz_ 0123456789 ABCDEF what is it'
SCHEMA = {
    "type": "object",
    "properties": {"shape": {"enum": ["dot", "line"]}, "size": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["shape", "size"],
    "additionalProperties": False,
}
LETTERS = {"type": "string", "pattern": "^[a-f]{3}$"}
HEAD = {"use": "generate", "max_new_tokens": 250}
SPEC: dict[str, Any] = {
    "mmkit": 1,
    "modalities": {
        "text": {"adapter": "characters"},
        "image": {"encoder": {"use": "cnn", "image_size": 16, "channels": [4, 8]}, "adapter": "linear"},
    },
    "backbone": {"use": "transformer", "dim": 16, "layers": 1, "heads": 2},
    "tasks": {
        "reply": {"input": "{q}", "output": "{a}", "columns": {"q": "text", "a": "text"}, "head": HEAD},
        "see": {"input": "{image}", "output": "{a}", "columns": {"a": "text"}, "head": HEAD},
        "shape": {
            "input": "{image}",
            "output": "{shape}",
            "reads": "image.encoder",
            "head": {"use": "classify", "labels": ["dot", "line"]},
        },
    },
}


@pytest.fixture(scope="module")
def spelling() -> mmkit.Model:
    import torch

    torch.manual_seed(0)
    return mmkit.build(SPEC, fit={"text": [SIGNS]}).eval()


@pytest.fixture(scope="module")
def asked(spelling: mmkit.Model, serve: Serve) -> Iterator[TestClient]:
    with serve(spelling) as found:
        yield found


def form(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def test_openai_client_gets_json_of_its_schema(asked: TestClient, spelling: mmkit.Model) -> None:
    client = openai.OpenAI(base_url="http://testserver/v1", api_key="none", http_client=asked, max_retries=0)
    messages: Any = [{"role": "user", "content": "what"}]
    for seed in range(6):
        given: Any = {"model": "tiny", "messages": messages, "temperature": 1.0, "seed": seed}
        choice = client.chat.completions.create(response_format=form(SCHEMA), **given).choices[0]  # type: ignore[arg-type]
        assert choice.finish_reason == "stop"
        jsonschema.validate(json.loads(choice.message.content or ""), SCHEMA)
        assert choice.message.content == spelling.predict(
            "reply", {"q": "what"}, schema=SCHEMA, temperature=1.0, seed=seed
        )
        stream = client.chat.completions.create(response_format=form(SCHEMA), stream=True, **given)  # type: ignore[arg-type]
        chunks = [chunk.choices[0] for chunk in stream]
        assert "".join(chunk.delta.content or "" for chunk in chunks) == choice.message.content
        assert chunks[-1].finish_reason == "stop"


def test_openai_client_parses_into_its_own_class(asked: TestClient) -> None:
    from pydantic import BaseModel

    class Found(BaseModel):
        word: str
        yes: bool

    client = openai.OpenAI(base_url="http://testserver/v1", api_key="none", http_client=asked, max_retries=0)
    for seed in range(20):
        try:
            answer = client.chat.completions.parse(
                model="tiny",
                messages=[{"role": "user", "content": "what"}],
                response_format=Found,
                temperature=1.0,
                seed=seed,
            )
        except openai.LengthFinishReasonError:
            continue
        assert isinstance(answer.choices[0].message.parsed, Found)
        return
    pytest.fail("no answer ended in 20 draws")


def test_an_object_of_any_form_may_be_asked_for(asked: TestClient, picture: Callable[..., bytes]) -> None:
    for seed in range(5):
        given = ask("what", response_format={"type": "json_object"}, temperature=1.0, seed=seed, n=4)
        choices = asked.post(CHAT, json=given).json()["choices"]
        for choice in choices:
            if choice["finish_reason"] == "stop":
                assert isinstance(json.loads(choice["message"]["content"]), dict)
    part = picture_part(picture())
    own = asked.post(CHAT, json=ask(part, model="tiny/shape", response_format={"type": "json_object"})).json()
    assert json.loads(own["choices"][0]["message"]["content"])["label"] in ("dot", "line")
    seen = asked.post(CHAT, json=ask(part, model="tiny/see", response_format=form(LETTERS), temperature=1)).json()
    assert re.fullmatch('"[a-f]{3}"', seen["choices"][0]["message"]["content"])


def test_requests_with_and_without_schemas_share_a_batch(spelling: mmkit.Model, serve: Serve) -> None:
    forms: list[Any] = [None, SCHEMA, LETTERS, None, SCHEMA]
    given = {"temperature": 1.0, "max_tokens": 40}

    def answer(client: TestClient, place: int) -> str:
        more = {} if forms[place] is None else {"response_format": form(forms[place])}
        said = client.post(CHAT, json=ask("what", seed=place, **given, **more)).json()
        return str(said["choices"][0]["message"]["content"])

    with serve(spelling, batch_wait=0.5) as client:
        for place in (1, 2):  # compiled before, so that all arrive at once
            answer(client, place)
        before = batches(client)
        with ThreadPoolExecutor(5) as pool:
            found = list(pool.map(lambda place: answer(client, place), range(5)))
        assert batches(client) - before < 5
    for place, said in enumerate(found):
        more = {} if forms[place] is None else {"schema": forms[place]}
        options = {"temperature": 1.0, "max_new_tokens": 40, "seed": place, **more}
        assert said == spelling.predict("reply", {"q": "what"}, **options)


def batches(client: TestClient) -> float:
    found = re.search(r"^mmkit_batch_size_count(?:\{.*\})? ([0-9.e+]+)$", client.get("/metrics").text, re.M)
    assert found is not None
    return float(found[1])


def test_an_answer_that_is_cut_says_so(asked: TestClient) -> None:
    choice = asked.post(CHAT, json=ask("what", response_format=form(SCHEMA), max_tokens=5)).json()["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"].startswith("{")


def test_a_task_of_its_own_takes_the_schema_as_an_option(asked: TestClient) -> None:
    given = {"input": {"q": "what"}, "options": {"schema": LETTERS, "temperature": 1.0, "seed": 1}}
    answer = asked.post("/v1/tasks/reply", json=given).json()
    assert re.fullmatch('"[a-f]{3}"', answer["output"])
    assert answer["finish_reason"] == "stop"
    page = asked.get("/openapi.json").json()["components"]["schemas"]
    assert page["ReplyOptions"]["properties"]["schema"]["description"] == (
        "JSON Schema that the answer, a JSON text, is held to."
    )
    listed = {task["task"]: task["options"] for task in asked.get("/v1/tasks").json()["data"]}
    assert "schema" in listed["reply"]
    assert "schema" not in listed["shape"]


REFUSED: list[tuple[dict[str, Any], tuple[int, str, str, str | None]]] = [
    (
        ask("x", response_format=form({"type": "array", "uniqueItems": True})),
        (
            400,
            "invalid_schema",
            'answers cannot be held to this schema: Unimplemented keys: ["uniqueItems"]',
            "schema",
        ),
    ),
    (
        ask("x", response_format=form({"enum": ["Z", "QX"]})),
        (
            400,
            "invalid_schema",
            "answers cannot be held to this schema: the vocabulary of modality 'text' has no way to write Q X Z, which its "
            "JSON needs",
            "schema",
        ),
    ),
    (
        ask("x", response_format=form({"title": "x" * 70_000})),
        (
            400,
            "invalid_schema",
            "answers cannot be held to this schema: it has 70013 bytes; at most 65536 are taken",
            "schema",
        ),
    ),
    (
        ask("x", response_format=form({"$ref": "http://169.254.169.254/a"})),
        (
            400,
            "invalid_schema",
            "answers cannot be held to this schema: Resource 'http://169.254.169.254/a' is not present in a registry and "
            "retrieving it failed: Default retriever does not fetch resources",
            "schema",
        ),
    ),
    (
        ask("x", response_format=form(True)),
        (
            400,
            "unsupported_response_format",
            "response_format.json_schema.schema: a JSON Schema, an object, is needed",
            "response_format",
        ),
    ),
    (
        ask("x", response_format=form(LETTERS), beams=2),
        (400, "invalid_option", "beams > 1 and schema exclude each other; decode with beams: 1", None),
    ),
    (
        ask("x", response_format=form({"type": "string", "pattern": "^abXYZ$"})),
        (
            400,
            "invalid_value",
            "the answer cannot go on under its schema: nothing that the vocabulary can write may follow there",
            None,
        ),
    ),
]


@pytest.mark.parametrize(("request_", "said"), REFUSED, ids=lambda value: json.dumps(value)[-60:])
def test_what_cannot_be_held_is_refused(
    asked: TestClient, request_: dict[str, Any], said: tuple[int, str, str, str | None]
) -> None:
    assert fault(asked.post(CHAT, json=request_)) == said


def test_a_task_of_labels_is_not_held(asked: TestClient, picture: Callable[..., bytes]) -> None:
    refused = asked.post(CHAT, json=ask(picture_part(picture()), model="tiny/shape", response_format=form(SCHEMA)))
    message = (
        "task 'shape' cannot be held to json_schema: it writes no text by a vocabulary, and answers in its own form"
    )
    assert fault(refused) == (400, "unsupported_response_format", message, "response_format")


def test_a_vocabulary_of_words_is_told(client: TestClient) -> None:
    message = (
        "answers of modality 'text' cannot be held to a schema: Words does not say what its ids spell, by a method "
        "pieces(); fix: a vocabulary that does, such as bpe, characters or tokenizer"
    )
    refused = client.post(CHAT, json=ask("x", response_format=form(SCHEMA)))
    assert fault(refused) == (400, "invalid_option", message, None)


PATTERNS = [{"type": "string", "pattern": f".*{one}.*{two}.*"} for one in "abcdef" for two in "xyz"]
BOMBS: list[dict[str, Any]] = [
    {"allOf": PATTERNS},
    {"type": "object", "properties": {f"p{i}": {"type": "integer"} for i in range(1500)}},
    {"allOf": [{"anyOf": [{"properties": {f"p{i}": {"const": j}}} for j in range(8)]} for i in range(12)]},
]


@pytest.mark.parametrize("bomb", BOMBS, ids=["patterns", "properties", "product"])
def test_a_schema_that_would_take_all_is_refused_and_harms_nobody(asked: TestClient, bomb: dict[str, Any]) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        hostile = pool.submit(asked.post, CHAT, json=ask("x", response_format=form(bomb)))
        assert asked.post(CHAT, json=ask("what", max_tokens=3)).status_code == 200
        status, code, message, _ = fault(hostile.result())
    assert status == 400
    start = {
        "invalid_schema": "answers cannot be held to this schema: ",
        "invalid_value": "the answer cannot go on under its schema: ",
    }
    assert message.startswith(start[code])
    assert time.monotonic() - began < held.PATIENCE * json_grammar.SECONDS + 5


def test_a_trial_that_ends_by_its_limit_is_told() -> None:
    with pytest.raises(json_grammar.Unusable) as refused:
        held.tried(json_grammar.written(BOMBS[0]))
    assert str(refused.value) == "it is too complex: it takes more than 2 s or 256 MiB to prepare"


def test_schemas_that_were_seen_are_kept_but_not_all(spelling: mmkit.Model, serve: Serve, monkeypatch: Any) -> None:
    tried: list[str] = []
    monkeypatch.setattr(held, "tried", tried.append)
    monkeypatch.setattr(held, "KEPT", 2)
    with serve(spelling) as client:
        for most in (1, 2, 1, 3, 2):
            schema = {"type": "integer", "minimum": 0, "maximum": most}
            answer = client.post(CHAT, json=ask("x", response_format=form(schema))).json()
            assert 0 <= json.loads(answer["choices"][0]["message"]["content"]) <= most
    assert len(tried) == 4
