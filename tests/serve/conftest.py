"""One small model for all tests here, and clients of it."""

import base64
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from starlette.testclient import TestClient

import mmkit
from mmkit.serve.app import create_app
from mmkit.serve.settings import Settings
from tests.serve.small import small

Serve = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture(scope="session")
def model() -> mmkit.Model:
    return small()


@pytest.fixture(scope="session")
def serve(model: mmkit.Model) -> Serve:
    """``with serve(seconds=1) as client``: the model behind other settings."""

    @contextmanager
    def run(served: mmkit.Model = model, **settings: Any) -> Iterator[TestClient]:
        app = create_app(served, Settings(**{"name": "tiny", **settings}))
        with TestClient(app, raise_server_exceptions=True) as client:
            yield client

    return run


@pytest.fixture(scope="session")
def client(serve: Serve) -> Iterator[TestClient]:
    """The model behind the default settings."""
    with serve() as found:
        yield found


def uri(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def fault(response: Any) -> tuple[int, str, str, str | None]:
    """Status, code, message and param of a refusal, whose form is OpenAI's."""
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status_code, error["code"], error["message"], error["param"]


def ask(*content: Any, model: str = "tiny", **more: Any) -> dict[str, Any]:
    """A chat request of one user message."""
    given = content[0] if len(content) == 1 and isinstance(content[0], str) else list(content)
    return {"model": model, "messages": [{"role": "user", "content": given}], **more}


def picture_part(content: bytes) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": uri(content)}}
