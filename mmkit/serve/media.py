"""Values of a request's JSON → raw values for the model. No string that comes from a client ever names a file."""

import asyncio
import base64
import binascii
import logging
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any

from mmkit.errors import SampleError
from mmkit.model.locate import fetch
from mmkit.serve.offer import Column
from mmkit.serve.refusal import bad
from mmkit.serve.settings import Settings
from mmkit.spec.schema import Urls

log = logging.getLogger("mmkit.serve")
_DEPTH = 8
HOW = "send a data URI (data:TYPE;base64,…)"


class Media:
    """Opens data URIs, base64 and, where they are switched on, URLs."""

    def __init__(self, settings: Settings, fetching: Executor) -> None:
        self.fetching, self.details = fetching, settings.log_details
        self.urls = None
        if settings.url_hosts:
            self.urls = Urls(
                hosts=list(settings.url_hosts),
                private=settings.url_private,
                max_mebibytes=settings.url_mebibytes,
                seconds=settings.url_seconds,
            )

    async def value(self, column: Column, given: Any, param: str) -> Any:
        """The raw value of a column from its JSON.

        Of a column that reads files: bytes of a data URI, of ``{"url": …}`` or of ``{"data": base64}``, or numbers; never a string.

        Raises:
            Refusal: it is none of these.
        """
        if not column.files:
            return given
        if isinstance(given, str):
            return await self.of_url(given, param)
        if isinstance(given, Mapping):
            if isinstance(given.get("url"), str):
                return await self.of_url(given["url"], f"{param}.url")
            if isinstance(given.get("data"), str):
                return of_base64(given["data"], f"{param}.data")
        if _has_text(given, _DEPTH):
            raise bad("invalid_media", f"{param}: text inside, or nested too deeply; {HOW}, or numbers", param)
        return given

    async def of_url(self, url: str, param: str) -> bytes:
        """The content of a data URI, or of a URL where its host is allowed.

        Raises:
            Refusal: it is something else, or cannot be had.
        """
        scheme = url[:8].lower()
        if scheme.startswith("data:"):
            return of_data_uri(url, param)
        if not scheme.startswith(("http://", "https://")):
            raise bad("invalid_media", f"{param}: not a data URI; {HOW}", param)
        if self.urls is None:
            raise bad("url_not_allowed", f"{param}: this server fetches no URLs; {HOW}", param)
        try:
            return await asyncio.get_running_loop().run_in_executor(self.fetching, fetch, url, self.urls)
        except SampleError as error:
            log.info("a URL was not fetched%s", f": {error}" if self.details else "")
            raise bad("url_not_fetched", f"{param}: the URL cannot be fetched, or may not be", param) from None


def of_data_uri(uri: str, param: str) -> bytes:
    """The bytes of ``data:TYPE;base64,…``.

    Raises:
        Refusal: it has another form.
    """
    head, comma, data = uri.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise bad("invalid_media", f"{param}: a data URI must be data:TYPE;base64,…", param)
    return of_base64(data, param)


def of_base64(data: str, param: str) -> bytes:
    """Bytes of base64, strictly.

    Raises:
        Refusal: it is not base64, or empty.
    """
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise bad("invalid_media", f"{param}: not valid base64", param) from None
    if not content:
        raise bad("invalid_media", f"{param}: empty (0 bytes)", param)
    return content


def to_data_uri(suffix: str, content: bytes) -> str:
    """A file that a model made."""
    return f"data:{media_type(suffix)};base64,{base64.b64encode(content).decode()}"


def media_type(suffix: str) -> str:
    """Of a file's suffix."""
    import mimetypes

    return {"wav": "audio/wav"}.get(suffix) or mimetypes.guess_type(f"x.{suffix}")[0] or "application/octet-stream"


def _has_text(value: Any, depth: int) -> bool:
    """Whether there is a string anywhere inside, or more depth than a value needs."""
    if isinstance(value, str) or depth == 0:
        return True
    if isinstance(value, Mapping):
        return any(_has_text(child, depth - 1) for child in value.values())
    if isinstance(value, list):
        return any(_has_text(child, depth - 1) for child in value if not isinstance(child, float | int))
    return False
