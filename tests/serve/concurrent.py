"""Many clients at once, in one event loop, and a model that can be held up."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

import mmkit
from mmkit.model.generate import Made
from mmkit.serve import engine
from mmkit.serve.app import create_app
from mmkit.serve.service import Service
from mmkit.serve.settings import Settings


@asynccontextmanager
async def serving(model: mmkit.Model, **settings: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Service]]:
    app = create_app(model, Settings(**{"name": "tiny", **settings}))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as client:
            yield client, app.state.service


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(work())


class Gate:
    """Stands before the model: counts what is predicted, and lets nothing through while it is shut."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: Callable[[Any], bool] = lambda batch: False) -> None:
        self.open, self.batches, self.arrived = threading.Event(), list[int](), threading.Event()
        self.open.set()
        real = engine.made_batch

        def made(model: Any, task: str, batch: Any, **options: Any) -> Sequence[Made]:
            self.batches.append(len(batch.tasks))
            self.arrived.set()
            assert self.open.wait(20)
            if fails(batch):
                raise RuntimeError("a secret of the model at 0x7f0123456789")
            return real(model, task, batch, **options)

        monkeypatch.setattr(engine, "made_batch", made)

    async def busy(self) -> None:
        """Wait until the model is at work."""
        while not self.arrived.is_set():
            await asyncio.sleep(0.002)
