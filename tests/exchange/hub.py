"""A small hub on this machine: repositories, commits with large files beside them, and what downloads ask for.

It speaks what ``huggingface_hub`` speaks: ``HF_ENDPOINT`` leads there. The token ``good`` may write to ``me/…`` only.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

LARGE = (".safetensors",)


@dataclass
class Repo:
    """One repository, its newest files and its commits."""

    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    sha: str = "0" * 40


@dataclass
class Hub:
    """The server's content, and everything that was asked of it."""

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    broken: str = ""  # paths with this in them answer 500


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub on a free port."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _answer(self, status: int, body: Any = None, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _begin(self) -> tuple[str, bytes] | None:
        """Path and body; None where the request is refused."""
        path, body = self.path.partition("?")[0], self._body()
        self.hub.asked.append(f"{self.command} {path}")
        if self.hub.broken and self.hub.broken in path:
            self._answer(500, {"error": "the disk is full"})
            return None
        return path, body

    def _may_write(self) -> bool:
        if self.headers.get("Authorization") == "Bearer good":
            return True
        self._answer(401, {"error": "Invalid username or password."})
        return False

    def do_POST(self) -> None:
        begun = self._begin()
        if begun is None:
            return
        path, body = begun
        if path == "/api/validate-yaml":
            content = json.loads(body)["content"]
            meta = yaml.safe_load(content.split("---")[1])
            fits = isinstance(meta, dict) and all(isinstance(tag, str) for tag in meta.get("tags", []))
            self._answer(200 if fits else 400, {"errors": [], "warnings": []})
        elif self._may_write():
            if path == "/api/repos/create":
                self._create(json.loads(body))
            elif found := re.fullmatch(r"/api/models/(.+)/preupload/[^/]+", path):
                files = [f["path"] for f in json.loads(body)["files"]]
                modes = {name: "lfs" if name.endswith(LARGE) else "regular" for name in files}
                made = [{"path": name, "uploadMode": mode, "shouldIgnore": False} for name, mode in modes.items()]
                self._answer(200, {"files": made})
            elif path.endswith(".git/info/lfs/objects/batch"):
                objects = json.loads(body)["objects"]
                for one in objects:
                    one["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"}}
                self._answer(200, {"transfer": "basic", "objects": objects})
            elif found := re.fullmatch(r"/api/models/(.+)/commit/[^/]+", path):
                self._commit(found[1], body)
            else:
                self._answer(404)

    def _create(self, wanted: dict[str, Any]) -> None:
        owner = wanted.get("organization") or "me"
        name = f"{owner}/{wanted['name']}"
        if owner != "me":
            self._answer(403, {"error": f"You don't have the rights to create a model under the namespace {owner!r}."})
        elif name in self.hub.repos:
            self._answer(409, {"error": "You already created this model repo", "url": f"{self.hub.url}/{name}"})
        else:
            self.hub.repos[name] = Repo(private=wanted.get("visibility") == "private" or bool(wanted.get("private")))
            self._answer(200, {"url": f"{self.hub.url}/{name}"})

    def _commit(self, name: str, body: bytes) -> None:
        repo = self.hub.repos[name]
        lines = [json.loads(line) for line in body.splitlines()]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                repo.commits.append(value["summary"])
            elif line["key"] == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repo.files[value["path"]] = self.hub.large[value["oid"]]
        repo.sha = hashlib.sha1(body + repo.sha.encode()).hexdigest()
        self._answer(200, {"commitUrl": f"{self.hub.url}/{name}/commit/{repo.sha}", "commitOid": repo.sha})

    def do_PUT(self) -> None:
        begun = self._begin()
        if begun is not None:
            path, body = begun
            oid = path.removeprefix("/lfs/")
            assert hashlib.sha256(body).hexdigest() == oid
            self.hub.large[oid] = body
            self._answer(200)

    def do_GET(self) -> None:
        begun = self._begin()
        if begun is None:
            return
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/[^/]+)?", begun[0])
        if found and found[1] in self.hub.repos:
            repo = self.hub.repos[found[1]]
            files = [{"rfilename": name} for name in repo.files]
            self._answer(200, {"id": found[1], "private": repo.private, "sha": repo.sha, "siblings": files})
            return
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", begun[0])
        repo = self.hub.repos.get(found[1]) if found else None
        if not found or repo is None:
            self._answer(404, X_Error_Code="RepoNotFound")
        elif found[2] not in repo.files:
            self._answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=repo.sha)
        else:
            data = repo.files[found[2]]
            tag = hashlib.sha256(data).hexdigest()
            self._answer(200, data, ETag=f'"{tag}"', X_Repo_Commit=repo.sha)

    do_HEAD = do_GET  # noqa: N815
