"""A server as users start it, asked by OpenAI's own client."""

import base64
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

import mmkit

KEY = "a-key-of-this-test-alone"


@dataclass
class Running:
    """A server process, and a client of it."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url, api_key=KEY, max_retries=0)


def start(folder: Path, log: Path, *options: str) -> Running:
    command = [sys.executable, "-m", "mmkit", "serve", str(folder), "--port", "0", "--name", "tiny", *options]
    with log.open("w") as written:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=written, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("ready: tiny at http://127.0.0.1:"), log.read_text()
    return Running(process, line.split(" at ")[1].strip(), log)


@pytest.fixture(scope="module")
def running(model: mmkit.Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("serve")
    model.save(folder / "model")
    keys = folder / "keys"
    keys.write_text(KEY)
    found = start(folder / "model", folder / "log", "--api-key-file", str(keys))
    yield found
    found.process.kill()
    found.process.wait()


def test_openais_client_chats_with_text_pictures_and_sound(
    running: Running, model: mmkit.Model, picture: Callable[..., bytes], sound: Callable[..., bytes]
) -> None:
    client = running.client
    image = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
    audio = {"data": base64.b64encode(sound()).decode(), "format": "wav"}
    for content, task, row in (
        ("what is it", "reply", {"question": "what is it"}),
        ([{"type": "image_url", "image_url": {"url": image}}], "caption", {"image": picture()}),
        ([{"type": "input_audio", "input_audio": audio}], "hear", {"audio": sound()}),
    ):
        asked = [{"role": "user", "content": content}]
        answer = client.chat.completions.create(model="tiny", messages=asked, temperature=1, seed=3)  # type: ignore[call-overload]
        assert answer.choices[0].message.content == model.predict(task, row, temperature=1, seed=3)
        assert answer.usage.total_tokens > answer.usage.prompt_tokens > 0
        stream = client.chat.completions.create(model="tiny", messages=asked, temperature=1, seed=3, stream=True)  # type: ignore[call-overload]
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
        assert "".join(pieces) == answer.choices[0].message.content


def test_openais_client_hears_speaks_draws_and_embeds(
    running: Running, sound: Callable[..., bytes], tmp_path: Path
) -> None:
    client = running.client
    file = tmp_path / "a.wav"
    file.write_bytes(sound())
    with file.open("rb") as opened:
        heard = client.audio.transcriptions.create(model="tiny", file=opened, temperature=1, extra_body={"seed": 1})
    assert isinstance(heard.text, str)
    with file.open("rb") as opened:
        events = list(
            client.audio.transcriptions.create(model="tiny", file=opened, stream=True, extra_body={"seed": 1})
        )
    assert events[-1].type == "transcript.text.done"
    speech = client.audio.speech.create(model="tiny", input="dot", voice="alloy", response_format="wav")
    assert speech.content[:4] == b"RIFF"
    drawn = client.images.generate(model="tiny", prompt="dot", n=2)
    assert base64.b64decode(drawn.data[1].b64_json or "").startswith(b"\x89PNG")  # type: ignore[index]
    vectors = client.embeddings.create(model="tiny", input=["dot", "line"])
    assert [len(one.embedding) for one in vectors.data] == [8, 8]
    assert [model.id for model in client.models.list()][:2] == ["tiny", "tiny/caption"]
    assert client.models.retrieve("tiny/draw").owned_by == "mmkit"


def test_openais_client_reads_the_errors(running: Running) -> None:
    asked = [{"role": "user", "content": "x"}]
    with pytest.raises(openai.BadRequestError) as bad:
        running.client.chat.completions.create(model="tiny", messages=asked, stop="x")  # type: ignore[call-overload]
    assert (bad.value.code, bad.value.param) == ("unsupported", "stop")
    with pytest.raises(openai.NotFoundError):
        running.client.models.retrieve("other")
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=running.url, api_key="wrong", max_retries=0).models.list()


def test_the_log_on_stderr_has_no_word_of_what_was_said(running: Running) -> None:
    asked = [{"role": "user", "content": "forty-two secrets"}]
    running.client.chat.completions.create(model="tiny", messages=asked, extra_headers={"x-request-id": "mine"})  # type: ignore[call-overload]
    time.sleep(0.1)
    text = running.log.read_text()
    assert "INFO mine POST /v1/chat/completions 200" in text
    assert "secrets" not in text
    assert KEY not in text


def test_sigterm_lets_what_is_there_end_and_leaves_with_zero(running: Running) -> None:
    """The last test of this module: it ends the server."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": "what is it"}], "stream": True, "max_tokens": 800}
    headers = {"authorization": f"Bearer {KEY}"}
    drawn = {"temperature": 1, "seed": 3}
    with httpx.stream(
        "POST", f"{running.url}/chat/completions", json=body | drawn, headers=headers, timeout=30
    ) as answer:
        lines = answer.iter_lines()
        next(lines)
        running.process.send_signal(signal.SIGTERM)
        *_, last = [line for line in lines if line]
    assert last == "data: [DONE]"
    assert running.process.wait(20) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running.url}/models")
