"""Errors as clients see them: a status, a fixed code and a message, in the form that OpenAI's clients read."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

LONGEST = 600
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class Error(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(BaseModel):
    """The form that OpenAI's clients read."""

    error: Error


class Refusal(HTTPException):
    """A request that is not answered.

    Args:
        status: of HTTP. code: fixed, for programs. param: what of the request is meant.
    """

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message, headers=dict(headers or {}))
        self.code, self.message, self.param = code, clean(message), param


def bad(code: str, message: str, param: str | None = None) -> Refusal:
    """A request that is wrong in itself: 400."""
    return Refusal(400, code, message, param)


def too_late() -> Refusal:
    """A deadline has passed: 504."""
    return Refusal(504, "deadline", "the request took longer than it may")


def clean(message: str) -> str:
    """A message that any client can read and that tells nothing of the process: no addresses of memory, no control signs, not
    endless."""
    message = _ADDRESS.sub("…", message.encode("utf-8", "backslashreplace").decode())
    message = "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in message)
    return message if len(message) <= LONGEST else message[:LONGEST] + " …"


def body_of(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """The form that OpenAI's clients read."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def answer(refusal: Refusal) -> JSONResponse:
    """The response of a refusal."""
    content = body_of(refusal.status_code, refusal.code, refusal.message, refusal.param)
    return JSONResponse(content, refusal.status_code, headers=refusal.headers)
