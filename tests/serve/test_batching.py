"""Requests of many clients are predicted together, and nobody notices."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

import mmkit
from tests.serve.concurrent import Gate, run, serving
from tests.serve.conftest import ask, fault, uri

CHAT = "/v1/chat/completions"


def reply(question: str, **options: Any) -> dict[str, Any]:
    return {"input": {"question": question}, "options": options}


def test_answers_of_a_crowd_are_those_computed_alone(
    model: mmkit.Model, monkeypatch: pytest.MonkeyPatch, picture: Callable[..., bytes]
) -> None:
    gate = Gate(monkeypatch)

    async def crowd() -> list[Any]:
        async with serving(model) as (client, _):
            texts = [
                client.post("/v1/tasks/reply", json=reply("one two " * n, temperature=1, seed=n)) for n in range(1, 17)
            ]
            shapes = [client.post("/v1/tasks/shape", json={"input": {"image": uri(picture(n))}}) for n in range(16)]
            return [answer.json()["output"] for answer in await asyncio.gather(*texts, *shapes)]

    answers = run(crowd)
    for n, answer in zip(range(1, 17), answers[:16], strict=True):
        assert answer == model.predict("reply", {"question": "one two " * n}, temperature=1, seed=n)
    for n, answer in enumerate(answers[16:]):
        alone = model.predict("shape", {"image": picture(n)})
        assert answer["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-5)
    assert sum(gate.batches) == 32
    assert len(gate.batches) < 16


def test_one_request_that_fails_harms_no_other_of_its_batch(
    model: mmkit.Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(monkeypatch, fails=lambda batch: 6 in batch.stream_lengths.tolist())
    gate.open.clear()

    async def crowd() -> list[Any]:
        async with serving(model) as (client, _):
            first = asyncio.ensure_future(client.post("/v1/tasks/reply", json=reply("one")))
            await gate.busy()
            rest = [
                client.post("/v1/tasks/reply", json=reply(text)) for text in ("one two", "one two three " * 2, "two")
            ]
            waiting = asyncio.gather(*rest)
            await asyncio.sleep(0.1)
            gate.open.set()
            return [await first, *await waiting]

    answers = run(crowd)
    assert [answer.status_code for answer in answers] == [200, 200, 500, 200]
    assert gate.batches == [1, 3, 1, 1, 1]
    assert fault(answers[2]) == (500, "model_failed", "the model failed on this request", None)
    assert "a secret" not in caplog.text
    assert "the model failed: RuntimeError at" in caplog.text


def test_a_value_that_cannot_be_used_never_reaches_a_batch(model: mmkit.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)

    async def two() -> list[Any]:
        async with serving(model) as (client, _):
            asked = [{"input": {"image": uri(content)}} for content in (b"no picture", b"GIF89a")]
            return list(await asyncio.gather(*(client.post("/v1/tasks/shape", json=given) for given in asked)))

    for answer in run(two):
        status, code, message, _ = fault(answer)
        assert (status, code) == (400, "invalid_value")
        assert message.startswith("column 'image': image bytes: not an image, or its header is cut; read are ")
    assert gate.batches == []


def test_what_finds_no_place_is_sent_away_and_told_when_to_come_back(
    model: mmkit.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    gate.open.clear()

    async def three() -> tuple[Any, ...]:
        async with serving(model, queue_requests=2) as (client, service):
            held = [asyncio.ensure_future(client.post("/v1/tasks/reply", json=reply("one"))) for _ in range(2)]
            await gate.busy()
            await asyncio.sleep(0.05)
            refused = await client.post("/v1/tasks/reply", json=reply("one"))
            gate.open.set()
            await asyncio.gather(*held)
            again = await client.post("/v1/tasks/reply", json=reply("one"))
            return refused, again, service.engine.waiting

    refused, again, waiting = run(three)
    assert fault(refused) == (429, "queue_full", "too many requests are waiting; try again later", None)
    assert refused.headers["retry-after"] == "1"
    assert again.status_code == 200
    assert (waiting.places, waiting.tokens, list(waiting.jobs)) == (0, 0, [])


def test_tokens_that_wait_are_bounded_too(model: mmkit.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    gate.open.clear()

    async def three() -> Any:
        async with serving(model, queue_tokens=50) as (client, _):
            held = [asyncio.ensure_future(client.post("/v1/tasks/reply", json=reply("one")))]
            await gate.busy()
            held.append(asyncio.ensure_future(client.post("/v1/tasks/reply", json=reply("one " * 40))))
            await asyncio.sleep(0.1)
            refused = await client.post("/v1/tasks/reply", json=reply("one " * 20))
            gate.open.set()
            await asyncio.gather(*held)
            return refused

    assert fault(run(three))[:2] == (429, "queue_full")


def test_a_request_that_takes_too_long_is_given_up_and_never_predicted(
    model: mmkit.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    gate.open.clear()

    async def two() -> tuple[Any, ...]:
        async with serving(model) as (client, service):
            first = asyncio.ensure_future(client.post("/v1/tasks/reply", json=reply("one")))
            await gate.busy()
            late = await client.post("/v1/tasks/reply", json=reply("two"), headers={"x-deadline-seconds": "0.1"})
            gate.open.set()
            await first
            return late, service.engine.waiting

    late, waiting = run(two)
    assert fault(late) == (504, "deadline", "the request took longer than it may", None)
    assert gate.batches == [1]
    assert (waiting.places, waiting.tokens) == (0, 0)


async def disconnecting(app: Any, path: str, body: bytes, after: asyncio.Event) -> list[Any]:
    """A client that sends a request and goes away after a while; what it was sent until then."""
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await after.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "scheme": "http",
        "headers": [(b"content-type", b"application/json"), (b"host", b"localhost")], "client": ("test", 1), "server": ("x", 1),
    }  # fmt: skip
    await app(scope, receive, send)
    return sent


def test_a_client_that_goes_frees_its_place(model: mmkit.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    gate.open.clear()

    async def two() -> Any:
        async with serving(model) as (client, service):
            first = asyncio.ensure_future(client.post("/v1/tasks/reply", json=reply("one")))
            await gate.busy()
            leave = asyncio.Event()
            app = client._transport.app  # type: ignore[attr-defined]
            gone = asyncio.ensure_future(
                disconnecting(app, "/v1/tasks/reply", json.dumps(reply("two")).encode(), leave)
            )
            await asyncio.sleep(0.1)
            assert service.engine.waiting.places == 2
            leave.set()
            await gone
            assert service.engine.waiting.places == 1
            gate.open.set()
            await first

    run(two)
    assert gate.batches == [1]


def test_a_stream_stops_when_its_reader_goes(
    model: mmkit.Model, monkeypatch: pytest.MonkeyPatch, picture: Callable[..., bytes]
) -> None:
    from mmkit.model.decoder import Decoder

    steps, real, leave = list[int](), Decoder._logits, asyncio.Event()

    def slow(self: Any, *given: Any) -> Any:
        steps.append(1)
        time.sleep(0.01)
        return real(self, *given)

    monkeypatch.setattr(Decoder, "_logits", slow)

    async def stream() -> Any:
        async with serving(model) as (client, service):
            body = json.dumps(ask("what is it", stream=True, temperature=1, seed=2, max_tokens=2000)).encode()
            app = client._transport.app  # type: ignore[attr-defined]
            reading = asyncio.ensure_future(disconnecting(app, CHAT, body, leave))
            while len(steps) < 5:
                await asyncio.sleep(0.01)
            other = await client.post("/v1/tasks/shape", json={"input": {"image": uri(picture())}})
            assert not reading.done()
            leave.set()
            await reading
            for _ in range(100):
                if not service.engine.streams:
                    break
                await asyncio.sleep(0.01)
            return other, service

    other, service = run(stream)
    assert other.status_code == 200  # a stream does not keep the model to itself
    assert len(steps) < 100
    assert (service.engine.streams, service.engine.waiting.places) == ([], 0)


def test_a_server_that_stops_answers_what_waits_and_takes_nothing_new(
    model: mmkit.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    gate.open.clear()

    async def drain() -> tuple[Any, ...]:
        async with serving(model) as (client, service):
            first = asyncio.ensure_future(client.post("/v1/tasks/reply", json=reply("one")))
            await gate.busy()
            second = asyncio.ensure_future(client.post("/v1/tasks/reply", json=reply("two")))
            await asyncio.sleep(0.05)
            service.engine.waiting.close()
            refused, health = await client.post("/v1/tasks/reply", json=reply("x")), await client.get("/healthz")
            gate.open.set()
            return await first, await second, refused, health

    first, second, refused, health = run(drain)
    assert (first.status_code, second.status_code) == (200, 200)
    assert fault(refused) == (503, "stopping", "the server is stopping", None)
    assert fault(health) == (503, "not_ready", "the model does not answer", None)
