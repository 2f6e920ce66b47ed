"""Nothing that a client sends brings the server down: no 5xx, no hang, no leak, and right requests are answered after it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from benchmarks import serving
from tests.serve.conftest import Serve, uri
from tests.serve.fuzzing import LEAKS, Fuzz

SHAPE = "/v1/tasks/shape"


@pytest.fixture(scope="module")
def bounded(serve: Serve) -> Iterator[TestClient]:
    """Short answers, so that time goes into requests."""
    with serve(max_new_tokens=8, max_tokens=512, seconds=8) as client:
        yield client


def test_mutated_requests_and_damaged_media_are_refused_and_harm_nobody(
    bounded: TestClient, picture: Callable[..., bytes], sound: Callable[..., bytes]
) -> None:
    right = {"input": {"image": uri(picture())}}
    before = bounded.post(SHAPE, json=right).json()
    fuzz = Fuzz(bounded, picture(), sound(), seed=1)
    fuzz.run(400)
    assert fuzz.statuses[200] > 20  # not everything is refused, and
    assert fuzz.statuses[400] > 100  # not everything is let through
    assert bounded.post(SHAPE, json=right).json() == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ROUTES = (
    "/v1/chat/completions",
    "/v1/tasks/reply",
    SHAPE,
    "/v1/embeddings",
    "/v1/audio/speech",
    "/v1/images/generations",
)
NAMES = (
    "model",
    "messages",
    "input",
    "options",
    "prompt",
    "n",
    "seed",
    "stream",
    "max_tokens",
    "response_format",
    "encoding_format",
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    route=st.sampled_from(ROUTES), body=st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5), named=st.booleans()
)
def test_any_json_is_answered_below_500(bounded: TestClient, route: str, body: dict[str, Any], named: bool) -> None:
    answer = bounded.post(
        route,
        content=json.dumps({**body, **({"model": "tiny"} if named else {})}),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code < 500, (route, body, answer.text)
    assert answer.status_code == 200 or not LEAKS.search(answer.json()["error"]["message"])


def _schema_cases(client: TestClient, examples: int) -> int:
    """Every operation of the server's own OpenAPI page, with bodies that its schemas allow and do not; how many were sent."""
    schemathesis = pytest.importorskip("schemathesis")
    requests = pytest.importorskip("requests")
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    sent = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        )
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            nonlocal sent
            sent += 1
            wanted = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
            answer = client.request(wanted.method, wanted.url, content=wanted.body, headers=dict(wanted.headers))
            assert answer.status_code < 500, (wanted.method, wanted.url, wanted.body, answer.text)

        ask()
    return sent


def test_bodies_that_the_servers_own_schemas_describe_are_answered_below_500(bounded: TestClient) -> None:
    assert _schema_cases(bounded, 3) >= 30


@pytest.mark.slow
@pytest.mark.soak
def test_twenty_thousand_requests_leave_no_trace(
    bounded: TestClient, picture: Callable[..., bytes], sound: Callable[..., bytes]
) -> None:
    right = {"input": {"image": uri(picture())}}
    before = bounded.post(SHAPE, json=right).json()
    fuzz = Fuzz(bounded, picture(), sound(), seed=2)
    fuzz.run(20_000)
    early, late = max(fuzz.memory[4:8]), max(fuzz.memory[-4:])
    print(
        f"statuses {dict(sorted(fuzz.statuses.items()))}, slowest {fuzz.slowest:.2f} s, memory {early:.0f} → {late:.0f} MiB"
    )
    assert late < early + 100
    assert _schema_cases(bounded, 50) >= 500
    assert bounded.post(SHAPE, json=right).json() == before


@pytest.mark.slow
@pytest.mark.soak
def test_sixty_four_clients_for_a_minute_get_their_own_answers(tmp_path: Path) -> None:
    """Any answer but the one computed alone ends it; see ``benchmarks.serving``."""
    serving.small(tmp_path / "model")
    asked = serving.questions(tmp_path / "model")
    with serving.served(tmp_path / "model") as url:
        many = asyncio.run(serving.closed(url, asked, 64, 60))
        figures = httpx.get(url.replace("/v1/", "/metrics")).text
    print(f"{many.rate:.1f} requests a second")
    assert 'status="5' not in figures
    assert 'status="4' not in figures
