"""Servers that cannot begin, that speak HTTPS, that are killed, and that many ask at once."""

import asyncio
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import mmkit
from benchmarks import serving


@pytest.fixture(scope="module")
def folder(model: mmkit.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model.save(tmp_path_factory.mktemp("restart") / "model")


@pytest.mark.slow
def test_https_is_spoken_with_a_certificate(folder: Path, tmp_path: Path) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        key,
        "-out",
        certificate,
        "-days",
        "1",
    ]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*made, *names], check=True, capture_output=True)
    options = ["--port", "0", "--ssl-certfile", certificate, "--ssl-keyfile", key]
    command = [sys.executable, "-m", "mmkit", "serve", str(folder), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip().rpartition(" ")[2]
        assert url.startswith("https://127.0.0.1:")
        assert httpx.get(f"{url}/models", verify=ssl.create_default_context(cafile=certificate)).status_code == 200
        with pytest.raises(httpx.HTTPError):
            httpx.get(url.replace("https", "http") + "/models")
        server.terminate()
        assert server.wait(20) == 0


@pytest.mark.slow
def test_a_killed_server_is_back_and_answers_the_same(folder: Path) -> None:
    body = {"input": {"question": "what is it"}, "options": {"temperature": 1, "seed": 5}}
    answers = []
    for _ in range(2):
        server, url, seconds = serving.start(folder)
        answers.append(httpx.post(f"{url}tasks/reply", json=body).json()["output"])
        os.kill(server.pid, signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
        assert seconds < 30
    assert answers[0] == answers[1]


@pytest.mark.slow
def test_a_crowd_gets_its_own_answers_faster_than_one_after_another(tmp_path: Path) -> None:
    """The short form of ``benchmarks.serving``: 32 clients; any answer but the one computed alone ends it."""
    serving.small(tmp_path / "model")
    asked = serving.questions(tmp_path / "model")
    with serving.served(tmp_path / "model") as url:
        alone = asyncio.run(serving.closed(url, asked, 1, 4))
        many = asyncio.run(serving.closed(url, asked, 32, 8))
        figures = httpx.get(url.replace("/v1/", "/metrics")).text
    assert many.rate > 1.5 * alone.rate
    assert "mmkit_waiting 0.0" in figures
    assert 'status="500"' not in figures
