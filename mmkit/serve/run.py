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

from mmkit.errors import MmkitError
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

    def bound(self) -> socket.socket:
        """A socket of this address, which takes no connections yet: before a model is loaded it is known whether the port is free.

        Raises:
            MmkitError: it cannot be had.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        found = socket.socket(family, socket.SOCK_STREAM)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((self.host, self.port))
        except OSError as error:
            found.close()
            reason = error.strerror or str(error)
            raise MmkitError(
                f"cannot listen at {self.host}:{self.port}: {reason}; choose another --port or --host"
            ) from error
        return found

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


def serve(model: Model, settings: Settings, address: Address, say: Callable[[str], Any], bound: socket.socket) -> None:
    """Answer on a bound socket until SIGTERM or SIGINT; requests that are there then are still answered, for ``drain_seconds``.

    Raises:
        KeyboardInterrupt: SIGINT ended it. SystemExit: it could not begin, for example with a certificate that cannot be read.
    """
    _log(settings.log_details)
    config = uvicorn.Config(
        create_app(model, settings),
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
    server.run(sockets=[bound])
    if not server.started:
        sys.exit(1)


def _log(details: bool) -> None:
    """Lines on stderr; of the libraries only what goes wrong, and warnings, which may quote what was sent, only with ``details``."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.captureWarnings(True)
    for name, level in (
        ("mmkit.serve", logging.INFO),
        ("uvicorn", logging.WARNING),
        ("py.warnings", logging.WARNING if details else logging.ERROR),
    ):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.propagate = False
        logger.handlers = [handler]
