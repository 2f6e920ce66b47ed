"""Around every request: its id, who asks, its body, its deadline, its line in the log, and the last word on errors."""

import asyncio
import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmkit.serve.body import Bodies, Body
from mmkit.serve.engine import said
from mmkit.serve.keys import Keys, Rates
from mmkit.serve.meters import Meters
from mmkit.serve.refusal import Refusal, answer, bad, too_late
from mmkit.serve.service import GoneError
from mmkit.serve.settings import Settings

log = logging.getLogger("mmkit.serve")
OPEN = ("/healthz",)
_GRACE = 0.5
"""Seconds in which what runs into its deadline may say so itself."""
_PORT = re.compile(r":\d*$")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, settings: Settings, meters: Meters) -> None:
        self.app, self.settings, self.meters = app, settings, meters
        self.keys, self.rates, self.bodies = Keys(settings.keys), Rates(settings.requests_per_minute), Bodies(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; other kinds of connection but the lifespan are closed."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, started = Headers(scope=scope), time.monotonic()
        given = headers.get("x-request-id", "")
        known: dict[str, Any] = {
            "id": given if _ID.fullmatch(given) else uuid.uuid4().hex,
            "status": 0,
            "who": "",
            "code": "",
            "ends": [],
        }
        scope["mmkit"] = known

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                known["status"] = message["status"]
                own = MutableHeaders(scope=message)
                own["x-request-id"] = str(known["id"])
                own["x-content-type-options"] = "nosniff"
            await send(message)

        body: Body | None = None
        try:
            known["until"] = asyncio.get_running_loop().time() + self._seconds(headers)
            self._admit(scope, headers, known)
            body = await self.bodies.read(scope, receive)
            async with asyncio.timeout_at(known["until"] + _GRACE):
                await self.app(scope, body.receive, tell)
        except (GoneError, ConnectionResetError):
            known["code"] = "client_gone"
        except Exception as error:
            refusal = self._refusal(error, known)
            known["code"] = refusal.code
            if not known["status"]:
                await answer(refusal)(scope, receive, tell)
        finally:
            for end in known["ends"]:
                end()
            if body is not None:
                body.release()
            self._record(scope, known, time.monotonic() - started)

    def _seconds(self, headers: Headers) -> float:
        given = headers.get("x-deadline-seconds")
        if given is None:
            return self.settings.seconds
        try:
            seconds = float(given)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < float("inf"):
            raise bad("invalid_request", "x-deadline-seconds is a number of seconds above 0", "x-deadline-seconds")
        return min(seconds, self.settings.seconds)

    def _admit(self, scope: Scope, headers: Headers, known: dict[str, Any]) -> None:
        if scope["path"] in OPEN:
            return
        host = _PORT.sub("", headers.get("host", ""))
        if self.settings.hosts and host.lower() not in self.settings.hosts:
            raise Refusal(403, "unknown_host", "this server does not answer to that host name")
        if scope["method"] == "OPTIONS":
            return
        known["who"] = self.keys.of(headers.get("authorization", "").encode("latin-1", "replace"))
        self.rates.spend(known["who"] or (scope.get("client") or ("?",))[0])

    def _refusal(self, error: Exception, known: dict[str, Any]) -> Refusal:
        if isinstance(error, Refusal):
            return error
        if isinstance(error, TimeoutError):
            return too_late()
        log.error("%s failed: %s", known["id"], said(error, self.settings.log_details))
        return Refusal(500, "internal_error", "an error in the server; its log has more under the request's id")

    def _record(self, scope: Scope, known: dict[str, Any], seconds: float) -> None:
        route = scope.get("route")
        path = getattr(route, "path", "") or ("/healthz" if scope["path"] in OPEN else "other")
        status = known["status"] or 499
        self.meters.requests.labels(path, str(status)).inc()
        self.meters.seconds.labels(path).observe(seconds)
        if known["code"]:
            self.meters.refused.labels(known["code"]).inc()
        line = "%s %s %s %d %.0f ms%s%s"
        who, code = (f" {known[name]}" if known[name] else "" for name in ("who", "code"))
        log.info(line, known["id"], scope["method"], path, status, 1000 * seconds, who, code)
