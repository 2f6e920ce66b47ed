"""Media columns: files inside the data root, URLs only where allowed, and never elsewhere by a redirect."""

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mmkit import SampleError
from mmkit.model.locate import fetch, located
from mmkit.spec.schema import Urls


class Site(BaseHTTPRequestHandler):
    """Answers as the path says."""

    def do_GET(self) -> None:
        if self.path == "/ok?x=1":
            self._say(200, b"picture")
        elif self.path == "/big":
            self._say(200, b"x" * 3_000_000)
        elif self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            for _ in range(20):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.1)
        elif self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"only this")
        else:
            self._say(404, b"")

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that hang up are part of the tests
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


LOCAL = Urls(hosts=["127.0.0.1"], private=True, max_mebibytes=1, seconds=5)


def refusal(url: str, urls: Urls) -> str:
    with pytest.raises(SampleError) as caught:
        fetch(url, urls)
    return str(caught.value)


def test_allowed_url_is_fetched_through_a_redirect(site: str, tmp_path: Path) -> None:
    assert fetch(f"{site}/ok?x=1", LOCAL) == b"picture"
    assert located(f"{site}/to//ok?x=1", tmp_path, LOCAL) == b"picture"


def test_urls_are_off_by_default(tmp_path: Path) -> None:
    with pytest.raises(SampleError) as caught:
        located("http://example.org/a.png", tmp_path, None)
    assert str(caught.value) == (
        f"'http://example.org/a.png' is a URL; only files under {tmp_path} are read (data.urls would allow named hosts)"
    )


def test_hosts_schemes_and_passwords_that_are_not_allowed(site: str) -> None:
    urls = Urls(hosts=["*.example.org", "cdn.test"])
    assert refusal(f"{site}/ok", urls) == (
        f"'{site}/ok': host '127.0.0.1' is not in data.urls.hosts; allowed: *.example.org, cdn.test"
    )
    assert refusal("ftp://a.example.org/x", urls) == "'ftp://a.example.org/x': only http and https URLs are fetched"
    assert refusal("http://me:pw@a.example.org/", urls) == (
        "'http://me:pw@a.example.org/': a URL needs a host, and no user name or password"
    )


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "169.254.169.254", "10.0.0.1", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_private_addresses_are_refused_whatever_the_list_says(host: str) -> None:
    message = refusal(f"http://{host}:9/", Urls(hosts=["*"]))
    assert message.endswith("an address of a private network (data.urls.private allows them)")


def test_redirect_to_a_host_that_is_not_allowed(site: str) -> None:
    assert refusal(f"{site}/to/http://localhost:9/x", LOCAL) == (
        "'http://localhost:9/x': host 'localhost' is not in data.urls.hosts; allowed: 127.0.0.1"
    )


def test_endless_redirects_large_slow_short_and_missing_content(site: str) -> None:
    around = "/to/" * 6 + "/ok"
    assert refusal(site + around, LOCAL) == f"'{site}{around}' redirects more than 3 times"
    assert refusal(f"{site}/big", LOCAL) == f"'{site}/big' has more than 1 MiB (data.urls.max_mebibytes)"
    slow = LOCAL.model_copy(update={"seconds": 0.5})
    assert refusal(f"{site}/slow", slow) == f"'{site}/slow' cannot be fetched: no answer within 0.5 s"
    assert refusal(f"{site}/short", LOCAL).startswith(f"'{site}/short' cannot be fetched: IncompleteRead")
    assert refusal(f"{site}/none", LOCAL) == f"'{site}/none' answered 404 Not Found"


def test_mapping_with_a_path_stays_inside_the_root_too(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    assert located({"path": "a.png", "bytes": None}, tmp_path, None) == tmp_path / "a.png"
    with pytest.raises(SampleError) as caught:
        located({"path": "/etc/passwd"}, tmp_path, None)
    assert str(caught.value) == (
        f"'/etc/passwd' leaves the data folder {tmp_path}; put the file inside it, or set data.root"
    )
    both = {"path": "/elsewhere.png", "bytes": b"x"}
    assert located(both, tmp_path, None) is both


PUBLIC = "93.184.216.34"


@pytest.fixture
def outside(site: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    """Names of a public host lead to the site; what was resolved, and which addresses were connected to."""
    resolved: list[str] = []
    connected: list[str] = []
    real_resolve, real_connect = socket.getaddrinfo, socket.create_connection

    def resolve(host: str, port: int, *given: Any, **more: Any) -> Any:
        if host != "public.test":
            return real_resolve(host, port, *given, **more)
        resolved.append(host)  # the second answer of the name server is this machine
        address = PUBLIC if len(resolved) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def connect(address: tuple[str, int], *given: Any, **more: Any) -> Any:
        connected.append(address[0])
        return real_connect(("127.0.0.1", int(site.rpartition(":")[2])), *given, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    return resolved, connected


def test_a_name_is_resolved_once_and_that_address_is_connected_to(outside: tuple[list[str], list[str]]) -> None:
    assert fetch("http://public.test/ok?x=1", Urls(hosts=["public.test"])) == b"picture"
    assert outside == (["public.test"], [PUBLIC])


def test_a_redirect_leads_to_no_private_address(outside: tuple[list[str], list[str]]) -> None:
    """Neither by its number nor by a name that now means this machine."""
    for inner in ("http://127.0.0.1:9/x", "http://public.test/ok"):
        outside[0].clear()
        message = refusal(f"http://public.test/to/{inner}", Urls(hosts=["*"]))
        assert message.endswith("is 127.0.0.1, an address of a private network (data.urls.private allows them)"), (
            message
        )
    assert set(outside[1]) == {PUBLIC}
