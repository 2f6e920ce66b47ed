"""Where the bytes of a media column lie: files inside the data root, and URLs where the spec allows them."""

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from mmkit.errors import SampleError
from mmkit.spec.schema import Urls

MAX_HOPS = 4
_CHUNK = 64 * 1024


def located(raw: Any, root: Path, urls: Urls | None) -> Any:
    """A media value of a manifest, with every path in it resolved inside ``root`` and every URL fetched.

    Strings, mappings with a ``path`` as ``datasets`` gives, and lists of both are looked at; anything else is returned
    as it is.

    Raises:
        SampleError: a path leaves the root, a URL is not allowed, or it cannot be fetched.
    """
    if isinstance(raw, str):
        if "://" not in raw:
            return inside(root, raw)
        if urls is None:
            raise SampleError(f"{raw!r} is a URL; only files under {root} are read (data.urls would allow named hosts)")
        return fetch(raw, urls)
    if isinstance(raw, Mapping) and isinstance(raw.get("path"), str) and raw.get("bytes") is None:
        return located(raw["path"], root, urls)
    if isinstance(raw, list):
        return [located(value, root, urls) for value in raw]
    return raw


def inside(root: Path, value: str) -> Path:
    """A path from a manifest, resolved and inside the data root.

    Raises:
        SampleError: it leaves the root (``..``, absolute, symlink), or is no path at all.
    """
    try:
        path, root = (root / value).resolve(), root.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a NUL, a loop of links, a name too long
        raise SampleError(f"{value[:100]!r} is not a path: {error}") from None
    if not path.is_relative_to(root):
        raise SampleError(f"{value!r} leaves the data folder {root}; put the file inside it, or set data.root")
    return path


def fetch(url: str, urls: Urls) -> bytes:
    """The content of an allowed http(s) URL.

    The host is resolved once and that address is connected to, at every redirect anew, so that neither a redirect nor
    a second answer of the name server leads elsewhere.

    Raises:
        SampleError: scheme, host or address is not allowed, the answer is not 200, too large or too slow.
    """
    until = time.monotonic() + urls.seconds
    at = url
    try:
        for _ in range(MAX_HOPS):
            content, location = _get(at, urls, until)
            if content is not None:
                return content
            at = urljoin(at, location)
    except (OSError, http.client.HTTPException, ValueError) as error:
        detail = f"no answer within {urls.seconds:g} s" if isinstance(error, TimeoutError) else error
        raise SampleError(f"{url!r} cannot be fetched: {detail}") from None
    raise SampleError(f"{url!r} redirects more than {MAX_HOPS - 1} times")


def _get(url: str, urls: Urls, until: float) -> tuple[bytes | None, str]:
    """The content, or where a redirect leads."""
    parts = urlsplit(url)
    address = _address(url, parts, urls)
    connection = _Pinned(parts, address, until)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"User-Agent": "mmkit", "Accept-Encoding": "identity"})
        answer = connection.getresponse()
        if answer.status in (301, 302, 303, 307, 308) and answer.headers["Location"]:
            return None, str(answer.headers["Location"])
        if answer.status != 200:
            raise SampleError(f"{url!r} answered {answer.status} {answer.reason}")
        return _read(answer, connection, url, urls, until), ""
    finally:
        connection.close()


def _address(url: str, parts: SplitResult, urls: Urls) -> str:
    """The one address to connect to."""
    if parts.scheme not in ("http", "https"):
        raise SampleError(f"{url!r}: only http and https URLs are fetched")
    host = parts.hostname or ""
    if parts.username is not None or not host:
        raise SampleError(f"{url!r}: a URL needs a host, and no user name or password")
    if not any(fnmatchcase(host, pattern) for pattern in urls.hosts):
        raise SampleError(f"{url!r}: host {host!r} is not in data.urls.hosts; allowed: {', '.join(urls.hosts)}")
    found = socket.getaddrinfo(host, _port(parts), type=socket.SOCK_STREAM)
    address = str(found[0][4][0])
    if not urls.private and not ipaddress.ip_address(address.partition("%")[0]).is_global:
        raise SampleError(
            f"{url!r}: {host} is {address}, an address of a private network (data.urls.private allows them)"
        )
    return address


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


class _Pinned(http.client.HTTPConnection):
    """A connection to one address, whatever the name would resolve to by now."""

    def __init__(self, parts: SplitResult, address: str, until: float) -> None:
        super().__init__(parts.hostname or "", _port(parts), timeout=_left(until))
        self.address, self.tls, self.until = address, parts.scheme == "https", until

    def connect(self) -> None:
        """To the pinned address; the certificate is checked against the name."""
        self.sock = socket.create_connection((self.address, self.port), timeout=_left(self.until))
        if self.tls:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)
        self.stream = self.sock  # http.client forgets its own once the answer will close the connection


def _read(answer: http.client.HTTPResponse, connection: _Pinned, url: str, urls: Urls, until: float) -> bytes:
    content, most = bytearray(), int(urls.max_mebibytes * 2**20)
    while True:
        connection.stream.settimeout(_left(until))
        piece = answer.read1(_CHUNK)
        if not piece:
            break
        content += piece
        if len(content) > most:
            raise SampleError(f"{url!r} has more than {urls.max_mebibytes:g} MiB (data.urls.max_mebibytes)")
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)
    return bytes(content)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
