"""Transcriptions, speech, pictures, embeddings and models."""

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

import mmkit
from mmkit.model.rendering import with_files
from tests.serve.conftest import fault, picture_part

HEAR, SPEAK, DRAW, EMBED = "/v1/audio/transcriptions", "/v1/audio/speech", "/v1/images/generations", "/v1/embeddings"


def files_of(value: Any) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []

    def keep(suffix: str, content: bytes) -> str:
        found.append((suffix, content))
        return ""

    with_files(value, keep)
    return found


def test_a_sound_is_transcribed(client: TestClient, model: mmkit.Model, sound: Callable[..., bytes]) -> None:
    file = {"file": ("a.wav", sound())}
    given = {"model": "tiny", "temperature": "1", "seed": "3"}
    expected = model.predict("hear", {"audio": sound()}, temperature=1.0, seed=3)
    answer = client.post(HEAR, data=given, files=file).json()
    assert answer["text"] == expected
    assert answer["usage"]["total_tokens"] == answer["usage"]["input_tokens"] + answer["usage"]["output_tokens"]
    plain = client.post(HEAR, data={**given, "response_format": "text"}, files=file)
    assert (plain.text, plain.headers["content-type"]) == (expected, "text/plain; charset=utf-8")
    stream = client.post(HEAR, data={**given, "stream": "true"}, files=file).text
    events = [json.loads(line.removeprefix("data: ")) for line in stream.strip().split("\n\n")[:-1]]
    assert "".join(event["delta"] for event in events[:-1]) == events[-1]["text"] == expected


def test_speech_is_a_file_of_the_kind_that_the_plugin_writes(client: TestClient, model: mmkit.Model) -> None:
    answer = client.post(SPEAK, json={"model": "tiny", "input": "dot", "voice": "alloy", "seed": 2})
    assert answer.headers["content-type"] == "audio/wav"
    assert [("wav", answer.content)] == files_of(model.predict("speak", {"word": "dot"}, seed=2))


def test_pictures_have_seeds_that_follow_one_another(client: TestClient, model: mmkit.Model) -> None:
    answer = client.post(DRAW, json={"model": "tiny", "prompt": "dot", "n": 2, "seed": 5}).json()
    drawn = [("png", base64.b64decode(one["b64_json"])) for one in answer["data"]]
    assert drawn == [files_of(model.predict("draw", {"word": "dot"}, seed=seed))[0] for seed in (5, 6)]


def test_each_side_is_embedded_alone_as_with_the_other(
    client: TestClient, model: mmkit.Model, picture: Callable[..., bytes]
) -> None:
    both = model.predict("match", {"image": picture(), "words": "dot"})
    texts = client.post(EMBED, json={"model": "tiny", "input": ["a red dot", "dot"]}).json()
    assert texts["data"][1]["embedding"] == pytest.approx(both["b"], abs=1e-5)
    asked = {"model": "tiny", "input": picture_part(picture()), "encoding_format": "base64"}
    coded = client.post(EMBED, json=asked).json()["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(coded), "<f4") == pytest.approx(both["a"], abs=1e-5)
    assert texts["usage"] == {"prompt_tokens": 12, "total_tokens": 12}


def test_models_are_the_model_and_its_tasks(client: TestClient) -> None:
    names = [model["id"] for model in client.get("/v1/models").json()["data"]]
    tasks = ["caption", "reply", "hear", "shape", "draw", "speak", "match"]
    assert names == ["tiny", *(f"tiny/{task}" for task in tasks)]
    assert client.get("/v1/models/tiny/draw").json()["x_task"] == {"takes": "1 text", "gives": "image"}
    assert fault(client.get("/v1/models/tiny/drw")) == (
        404, "model_not_found", "there is no model 'tiny/drw': did you mean 'tiny/draw'?", "model",
    )  # fmt: skip


JSON: list[tuple[str, Any, tuple[Any, ...]]] = [
    (SPEAK, {"input": "x", "speed": 2}, ("unsupported", "speed: a task of mmkit has one speed", "speed")),
    (SPEAK, {"input": "x", "instructions": "sing"},
     ("unsupported", "instructions: task 'speak' has no such column", "instructions")),
    (SPEAK, {"input": "x", "response_format": "mp3"},
     ("unsupported", "response_format: what is made here is wav", "response_format")),
    (SPEAK, {"input": "x", "model": "tiny/draw"}, ("no_task_fits", "no task of tiny that makes audio", "model")),
    (DRAW, {"prompt": "x", "size": "1024x1024"},
     ("unsupported", "size: it is the model's own; leave it out", "size")),
    (DRAW, {"prompt": "x", "response_format": "url"},
     ("unsupported", "response_format: pictures are sent as b64_json; there is no place for a URL", "response_format")),
    (DRAW, {"prompt": "x", "output_format": "webp"},
     ("unsupported", "output_format: what is made here is png", "output_format")),
    (DRAW, {"prompt": "x", "n": 9}, ("invalid_option", "n is 9; at most 8 is taken", "n")),
    (DRAW, {"prompt": "x", "stream": True}, ("unsupported", "stream is not supported", "stream")),
    (DRAW, {"prompt": "x", "temperature": 1},
     ("invalid_option", "task 'draw' takes no options but seed, got: temperature", None)),
    (EMBED, {"input": []}, ("invalid_request", "input: 0 values; 1 to 64 are taken", "input")),
    (EMBED, {"input": [1, 2]},
     ("invalid_request", "input.0: a text, or a part as in a chat message; ids are not taken", "input.0")),
    (EMBED, {"input": ["x", {"type": "x-image", "x-image": ""}]},
     ("invalid_request", "input: values of one kind at once", "input")),
    (EMBED, {"input": "x", "dimensions": 3},
     ("unsupported", "dimensions: embeddings of task 'match' have 8", "dimensions")),
    (EMBED, {"input": ""}, ("invalid_value", "there is nothing to embed: the value gives no features", None)),
    (EMBED, {"input": {"type": "x-ecg", "x-ecg": [1]}},
     ("no_task_fits", "no task that embeds takes ecg: match takes 1 image and 1 text", "model")),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "expected"), JSON, ids=[f"{n}-{e[0]}" for n, (*_, e) in enumerate(JSON)])
def test_what_cannot_be_had_is_refused(client: TestClient, path: str, body: Any, expected: tuple[Any, ...]) -> None:
    assert fault(client.post(path, json={"model": "tiny", **body})) == (400, *expected)


FORMS: list[tuple[dict[str, str], bytes | None, tuple[Any, ...]]] = [
    ({"model": "tiny"}, None, ("invalid_request", "file: a sound is needed, as a file of the form", "file")),
    ({"model": "tiny"}, b"", ("invalid_media", "file: empty (0 bytes)", "file")),
    ({}, b"x", ("invalid_request", "model: Field required", "model")),
    ({"model": "tiny", "response_format": "srt"}, b"x",
     ("unsupported", "response_format is json or text: there are no times to tell 'srt' with", "response_format")),
    ({"model": "tiny", "langauge": "en"}, b"x",
     ("invalid_request", "langauge: there is no such field: did you mean 'language'?", "langauge")),
    ({"model": "tiny", "language": "en"}, b"x",
     ("no_task_fits", "no task that writes text takes 1 audio and language: caption takes 1 image; reply takes 1 text; hear "
      "takes 1 audio", "model")),
    ({"model": "tiny"}, b"no sound at all", ("invalid_value", "column 'audio': audio bytes: not a sound, or corrupt (Format not "
     "recognised)", None)),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "file", "expected"), FORMS, ids=[f"{n}-{e[0]}" for n, (*_, e) in enumerate(FORMS)])
def test_a_form_that_cannot_be_used_is_refused(
    client: TestClient, fields: dict[str, str], file: bytes | None, expected: tuple[Any, ...]
) -> None:
    files = {"file": ("a.wav", file)} if file is not None else {"other": ("a.wav", b"x")}
    assert fault(client.post(HEAR, data=fields, files=files)) == (400, *expected)
