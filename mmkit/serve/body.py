"""A request's body, read with a bound on its bytes and its time before anything looks at it."""

import asyncio

from starlette.types import Message, Receive, Scope

from mmkit.serve.refusal import Refusal, bad
from mmkit.serve.settings import Settings


class Bodies:
    """Reads bodies; knows how many bytes of all of them are held."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.held = settings, 0

    async def read(self, scope: Scope, receive: Receive) -> "Body":
        """The whole body.

        Raises:
            Refusal: too large, too slow, or there are too many at once. ConnectionResetError: the client went before its end.
        """
        most = self.settings.max_body
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not declared.isdigit():
            raise bad("invalid_request", "Content-Length is no number")
        if int(declared) > most:
            raise _too_large(most)
        body = Body(self, receive)
        try:
            async with asyncio.timeout(self.settings.body_seconds):
                await body.fill(most)
        except TimeoutError:
            body.release()
            raise Refusal(408, "slow_body", "the body of the request did not arrive in time") from None
        except BaseException:
            body.release()
            raise
        return body


class Body:
    """A body that was read, given again to whoever asks for it."""

    def __init__(self, bodies: Bodies, receive: Receive) -> None:
        self.bodies, self.rest = bodies, receive
        self.pieces: list[bytes] = []
        self.size = 0
        self.given = False

    async def fill(self, most: int) -> None:
        """Read to the end.

        Raises:
            Refusal: it is too large, or too many are held. ConnectionResetError: it has no end.
        """
        more = True
        while more:
            message = await self.rest()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError
            piece = message.get("body", b"")
            self.size += len(piece)
            self.bodies.held += len(piece)
            self.pieces.append(piece)
            if self.size > most:
                raise _too_large(most)
            if self.bodies.held > self.bodies.settings.max_buffered:
                said = "too much is being uploaded at once; try again later"
                raise Refusal(429, "uploads_full", said, headers={"Retry-After": "2"})
            more = message.get("more_body", False)

    async def receive(self) -> Message:
        """The body as one message; then whatever comes, which is a disconnect."""
        if self.given:
            return await self.rest()
        self.given = True
        content, self.pieces = b"".join(self.pieces), []
        return {"type": "http.request", "body": content, "more_body": False}

    def release(self) -> None:
        """Nothing is held any more."""
        self.bodies.held -= self.size
        self.size, self.pieces = 0, []


def _too_large(most: int) -> Refusal:
    message = f"the body of the request has more than {most / 2**20:g} MiB"
    return Refusal(413, "body_too_large", message, headers={"Connection": "close"})
