"""Runs the application by uvicorn, until it is told to stop."""

import logging
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from mmkit.model.model import Model
from mmkit.serve.app import create_app
from mmkit.serve.settings import Settings

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
        port: 0: any that is free. certificate, key: PEM files; with both HTTPS is spoken.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    certificate: Path | None = None
    key: Path | None = None

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in ("localhost", "127.0.0.1", "::1")

    def url(self, port: int) -> str:
        """As a client writes it."""
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{port}"


class Server(uvicorn.Server):
    """Says where it listens once it does."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[int], None]) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self.started:
            self.ready(int(self.servers[0].sockets[0].getsockname()[1]))


def serve(model: Model, settings: Settings, address: Address, say: Callable[[str], Any]) -> None:
    """Answer until SIGTERM or SIGINT; requests that are there then are still answered, for ``drain_seconds``.

    Raises:
        KeyboardInterrupt: SIGINT ended it. SystemExit: it cannot listen there.
    """
    _log()
    config = uvicorn.Config(
        create_app(model, settings),
        host=address.host,
        port=address.port,
        ssl_certfile=address.certificate,
        ssl_keyfile=address.key,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=int(settings.drain_seconds),
    )
    server = Server(config, lambda port: say(f"ready: {settings.name} at {address.url(port)}/v1"))
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again once it has drained, which is a good end
    server.run()
    if not server.started:
        sys.exit(1)


def _log() -> None:
    """Lines on stderr; of the libraries only what goes wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.captureWarnings(True)
    for name, level in (("mmkit.serve", logging.INFO), ("uvicorn", logging.WARNING), ("py.warnings", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.propagate = False
        logger.handlers = [handler]
