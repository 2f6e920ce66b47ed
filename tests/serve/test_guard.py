"""Around every request: keys, rates, bodies, hosts, ids, and what the log says."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import mmkit
from mmkit.errors import MmkitError
from mmkit.serve.keys import Rates, read_keys
from mmkit.serve.refusal import Refusal, clean
from tests.serve.concurrent import run, serving
from tests.serve.conftest import Serve, ask, fault

KEY, OTHER = "k" * 24, "o" * 24
ASKED = {"input": {"question": "what is it"}, "options": {"max_new_tokens": 1}}


def test_a_key_is_needed_everywhere_but_where_health_is_asked(serve: Serve) -> None:
    with serve(keys=(OTHER, KEY)) as client:
        assert client.get("/healthz").json() == {"status": "ready", "model": "tiny"}
        for path in ("/v1/models", "/metrics", "/openapi.json", "/nothing"):
            told = fault(client.get(path))
            assert told == (401, "invalid_api_key", "an API key is needed: Authorization: Bearer KEY", None)
        refused = client.get("/v1/models", headers={"authorization": f"Bearer {KEY}x"})
        assert fault(refused) == (401, "invalid_api_key", "the API key is not known", None)
        assert refused.headers["www-authenticate"] == "Bearer"
        assert client.get("/v1/models", headers={"authorization": f"Bearer {KEY}"}).status_code == 200
        assert client.get("/v1/models", headers={"authorization": f"Basic {KEY}"}).status_code == 401


def test_a_wrong_key_is_refused_before_its_body_is_read(serve: Serve) -> None:
    with serve(keys=(KEY,), max_body=10) as client:
        assert client.post("/v1/tasks/reply", content=b"x" * 1000).status_code == 401


def test_every_key_has_requests_of_its_own(serve: Serve) -> None:
    with serve(keys=(KEY, OTHER), requests_per_minute=2) as client:
        codes = [client.get("/v1/models", headers={"authorization": f"Bearer {KEY}"}) for _ in range(3)]
        assert [answer.status_code for answer in codes] == [200, 200, 429]
        assert fault(codes[2]) == (429, "rate_limit", "at most 2 requests a minute; try again later", None)
        assert int(codes[2].headers["retry-after"]) in (30, 31)
        assert client.get("/v1/models", headers={"authorization": f"Bearer {OTHER}"}).status_code == 200


def test_requests_come_back_with_time() -> None:
    rates = Rates(60)
    for _ in range(60):
        rates.spend("a", now=0.0)
    with pytest.raises(Refusal):
        rates.spend("a", now=0.5)
    rates.spend("a", now=1.1)
    rates.spend("b", now=1.1)


def test_keys_are_read_from_a_file_and_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{KEY}  # the app\n\n")
    assert read_keys(file, f"{OTHER}, {KEY}") == (KEY, OTHER)
    file.write_text("\n")
    with pytest.raises(MmkitError, match=f"--api-key-file {file} has no key; write one a line"):
        read_keys(file, "")
    with pytest.raises(MmkitError, match="an API key has at least 16 characters; `openssl rand -hex 24` makes one"):
        read_keys(None, "short")
    with pytest.raises(MmkitError, match=f"--api-key-file {tmp_path} cannot be read: .*"):
        read_keys(tmp_path, "")


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_body_that_is_too_large_is_refused_unread(serve: Serve, chunked: bool) -> None:
    with serve(max_body=1000) as client:
        given = b'{"input": {"question": "' + b"x" * 2000 + b'"}}'
        content = iter([given]) if chunked else given
        refused = client.post("/v1/tasks/reply", content=content, headers={"content-type": "application/json"})
        assert fault(refused) == (413, "body_too_large", "the body of the request has more than 0.000953674 MiB", None)
        assert client.post("/v1/tasks/reply", json=ASKED).status_code == 200


def raw(app: Any, pieces: list[Any], **headers: str) -> list[Any]:
    """What is sent to a client whose body comes as these pieces, and then no more."""
    sent: list[Any] = []

    async def receive() -> Any:
        if pieces:
            return pieces.pop(0)
        await asyncio.sleep(10)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask_once() -> None:
        given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": "/v1/tasks/reply", "headers": given, "client": None}
        await app(scope | {"query_string": b"", "root_path": "", "scheme": "http"}, receive, send)

    asyncio.run(ask_once())
    return sent


def test_a_body_that_never_ends_is_given_up(serve: Serve) -> None:
    with serve(body_seconds=0.05) as client:
        start, body = raw(client.app, [{"type": "http.request", "body": b"{", "more_body": True}])
        assert start["status"] == 408
        assert json.loads(body["body"])["error"]["message"] == "the body of the request did not arrive in time"


def test_a_client_that_goes_while_it_sends_is_forgotten(serve: Serve) -> None:
    with serve() as client:
        pieces = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
        assert raw(client.app, pieces) == []


def test_all_bodies_together_are_bounded(model: mmkit.Model) -> None:
    async def two() -> Any:
        async with serving(model, max_buffered=3000) as (client, _):
            answers = []
            for size in (1000, 5000, 1000):
                given = {"input": {"question": "x" * size}, "options": {"max_new_tokens": 1}}
                answers.append(await client.post("/v1/tasks/reply", json=given))
            return answers

    first, refused, third = run(two)
    assert (first.status_code, third.status_code) == (200, 200)
    assert fault(refused) == (429, "uploads_full", "too much is being uploaded at once; try again later", None)


def test_a_host_name_that_is_not_the_servers_is_refused(serve: Serve) -> None:
    with serve(hosts=("localhost", "[::1]")) as client:
        for host, status in (("localhost:8000", 200), ("[::1]:8000", 200), ("[::1]", 200), ("evil.example", 403)):
            assert client.get("/v1/models", headers={"host": host}).status_code == status
        refused = client.get("/v1/models", headers={"host": "evil.example:8000"})
        assert fault(refused) == (403, "unknown_host", "this server does not answer to that host name", None)


def test_pages_of_other_origins_may_ask_only_where_they_are_named(serve: Serve) -> None:
    headers = {"origin": "https://app.example.org", "access-control-request-method": "POST"}
    with serve() as client:
        assert "access-control-allow-origin" not in client.options("/v1/models", headers=headers).headers
    with serve(origins=("https://app.example.org",)) as client:
        answer = client.options("/v1/models", headers=headers)
        assert answer.headers["access-control-allow-origin"] == "https://app.example.org"
        other = {**headers, "origin": "https://evil.example"}
        assert "access-control-allow-origin" not in client.options("/v1/models", headers=other).headers


def test_a_request_has_an_id_that_the_client_may_choose(client: TestClient) -> None:
    given = client.get("/healthz", headers={"x-request-id": "mine-1.2_3"})
    assert given.headers["x-request-id"] == "mine-1.2_3"
    odd = client.get("/healthz", headers={"x-request-id": "a b\x01" + "c" * 99})
    assert len(odd.headers["x-request-id"]) == 32
    assert odd.headers["x-content-type-options"] == "nosniff"


def test_the_log_has_a_line_a_request_and_nothing_of_what_was_said(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mmkit.serve")
    secret = "my number is 12345"
    client.post("/v1/chat/completions?who=me", json=ask(secret, temprature=secret), headers={"x-request-id": "r1"})
    client.post("/v1/chat/completions", json=ask(secret), headers={"x-request-id": "r2"})
    lines = [record.getMessage() for record in caplog.records if record.name == "mmkit.serve"]
    assert [line.split(" ms")[0].rsplit(" ", 1)[0] for line in lines] == [
        "r1 POST /v1/chat/completions 400",
        "r2 POST /v1/chat/completions 200",
    ]
    assert "12345" not in caplog.text


def test_an_error_of_ours_is_told_by_its_code_alone_and_found_in_the_log(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serve() as client:
        monkeypatch.setattr(client.app.state.service.choice, "among", lambda name: 1 / 0)  # type: ignore[attr-defined]
        answer = client.post("/v1/chat/completions", json=ask("x"), headers={"x-request-id": "r3"})
    message = "an error in the server; its log has more under the request's id"
    assert fault(answer) == (500, "internal_error", message, None)
    assert "r3 failed: ZeroDivisionError at" in caplog.text


WRONG = [
    (b"{", (400, "invalid_request", "body: the body is not valid JSON, at character 1", None)),
    (b"[" * 100_000, (400, "invalid_request", "There was an error parsing the body", None)),
    (
        b'{"input": {"question": "x"}} ' + b"9" * 10,
        (400, "invalid_request", "body: the body is not valid JSON, at character 29", None),
    ),
    (b"\xff\xfe", (400, "invalid_request", "body: the body is not valid JSON, at character 0", None)),
    (b"", (400, "invalid_request", "body: Field required", None)),
]


@pytest.mark.parametrize(("content", "expected"), WRONG, ids=["cut", "deep", "twice", "no text", "empty"])
def test_a_body_that_is_no_json_is_refused(client: TestClient, content: bytes, expected: Any) -> None:
    answer = client.post("/v1/tasks/reply", content=content, headers={"content-type": "application/json"})
    assert fault(answer) == expected


def test_paths_and_methods_that_are_not_there(client: TestClient) -> None:
    assert fault(client.get("/nothing")) == (404, "not_found", "Not Found", None)
    assert fault(client.get("/v1/chat/completions")) == (405, "method_not_allowed", "Method Not Allowed", None)
    odd = client.get("/v1/models", headers={"x-deadline-seconds": "nan"})
    message = "x-deadline-seconds is a number of seconds above 0"
    assert fault(odd) == (400, "invalid_request", message, "x-deadline-seconds")


def test_messages_have_no_addresses_of_memory_no_control_signs_and_an_end() -> None:
    assert clean("<BytesIO object at 0x7f3a5c0d1e00>") == "<BytesIO object at …>"
    assert clean("a\x1b[31m\ud800") == "a?[31m\\ud800"
    assert len(clean("x" * 10_000)) == 602


def test_figures_name_routes_and_codes_and_nothing_of_clients(serve: Serve) -> None:
    with serve() as client:
        client.get("/secret-path")
        client.post("/v1/tasks/reply", json=ASKED)
        client.post("/v1/tasks/reply", json={})
        text = client.get("/metrics").text
    assert 'mmkit_requests_total{path="other",status="404"} 1.0' in text
    assert 'mmkit_requests_total{path="/v1/tasks/reply",status="200"} 1.0' in text
    assert 'mmkit_refused_total{code="invalid_request"} 1.0' in text
    assert 'mmkit_tokens_total{direction="in",task="reply"} 3.0' in text
    assert "mmkit_batch_size_count 1.0" in text
    assert "mmkit_waiting 0.0" in text
    assert "secret-path" not in text


def test_an_application_whose_model_was_not_started_says_so(model: mmkit.Model) -> None:
    from mmkit.serve.app import create_app

    client = TestClient(create_app(model))  # without its lifespan
    assert fault(client.get("/healthz")) == (503, "not_ready", "the model does not answer", None)
    assert fault(client.post("/v1/tasks/reply", json=ASKED)) == (503, "not_ready", "the model does not answer", None)
