"""Values that are written as codes, alone and between texts, and a head that spells along an encoder's rows."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit
from mmkit.model.rendering import with_files
from mmkit.serve.media import to_data_uri
from tests import small_codecs
from tests.serve.conftest import Serve, ask, fault, picture_part

CHAT = "/v1/chat/completions"
SPEC: dict[str, Any] = {
    "mmkit": 1,
    "modalities": {
        "text": {"adapter": {"use": "words", "vocab_size": 20}},
        "image": {"adapter": "grey"},
        "sound": {"adapter": "beeps"},
        "heard": {"encoder": {"use": "log-mel", "n_mels": 8}},
    },
    "backbone": {"use": "transformer", "dim": 16, "layers": 1, "heads": 2},
    "tasks": {
        "draw": {"input": "{word}", "output": "{image}", "columns": {"word": "text"}, "head": "generate"},
        "speak": {"input": "{word}", "output": "{sound}", "columns": {"word": "text"}, "head": "generate"},
        "tell": {
            "input": "{image}",
            "output": "{word} {image}",
            "columns": {"word": "text"},
            "head": {"use": "generate", "max_new_tokens": 30},
        },
        "spell": {
            "input": "{heard}",
            "output": "{said}",
            "columns": {"said": "text"},
            "reads": "heard.encoder",
            "head": "ctc",
        },
    },
}


@pytest.fixture
def coded(install: Callable[..., Path]) -> mmkit.Model:
    import torch

    install("lab", small_codecs.CODE)
    torch.manual_seed(1)
    return mmkit.build(SPEC, fit={"text": ["a dark and a light one"]})


def test_pictures_and_sounds_are_written_code_by_code(coded: mmkit.Model, serve: Serve) -> None:
    drawn = {"temperature": 1.0, "seed": 4}
    with serve(coded) as client:
        picture = client.post("/v1/images/generations", json={"model": "tiny", "prompt": "a dark one", **drawn}).json()
        expected = with_files(coded.predict("draw", {"word": "a dark one"}, **drawn), to_data_uri)
        assert f"data:image/png;base64,{picture['data'][0]['b64_json']}" == expected
        assert picture["usage"] == {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
        sound = client.post("/v1/audio/speech", json={"model": "tiny", "input": "a", "voice": "any", **drawn})
        expected = with_files(coded.predict("speak", {"word": "a"}, **drawn), to_data_uri)
        assert to_data_uri("wav", sound.content) == expected


def test_text_with_pictures_in_it_is_text_and_parts(
    coded: mmkit.Model, serve: Serve, picture: Callable[..., bytes]
) -> None:
    answers = (({"temperature": 1.0, "seed": seed}, picture()) for seed in range(30))
    drawn = next(drawn for drawn, given in answers if len(coded.predict("tell", {"image": given}, **drawn)) > 1)
    with serve(coded) as client:
        message = client.post(CHAT, json=ask(picture_part(picture()), **drawn)).json()["choices"][0]["message"]
        values = coded.predict("tell", {"image": picture()}, **drawn)
        parts = [
            {"modality": name, "value": with_files(value, to_data_uri)} for one in values for name, value in one.items()
        ]
        assert {part["modality"] for part in parts} == {"text", "image"}
        assert message["x_parts"] == parts
        assert message["content"] == " ".join(part["value"] for part in parts if part["modality"] == "text")
        own = client.post(
            "/v1/tasks/tell",
            json={"input": {"image": {"data": base64.b64encode(picture()).decode()}}, "options": drawn},
        )
        assert [next(iter(one.items())) for one in own.json()["output"]] == [
            (part["modality"], part["value"]) for part in parts
        ]


def test_a_picture_is_streamed_row_by_row(coded: mmkit.Model, serve: Serve) -> None:
    drawn = {"temperature": 1.0, "seed": 4}
    with serve(coded) as client:
        text = client.post(CHAT, json=ask("a", model="tiny/draw", stream=True, **drawn)).text
        events = [json.loads(line.removeprefix("data: ")) for line in text.strip().split("\n\n")[:-1]]
        deltas = [event["choices"][0]["delta"] for event in events]
        pictures = [delta["x_parts"][0]["value"] for delta in deltas if "x_parts" in delta]
        assert len(pictures) == 3  # two rows, and the whole
        assert pictures[-1] == with_files(coded.predict("draw", {"word": "a"}, **drawn), to_data_uri)


def test_a_head_that_spells_along_rows_is_asked_in_a_chat_and_transcribes(
    coded: mmkit.Model, serve: Serve, sound: Callable[..., bytes]
) -> None:
    audio = {"type": "input_audio", "input_audio": {"data": base64.b64encode(sound()).decode(), "format": "wav"}}
    expected = coded.predict("spell", {"heard": sound()})
    with serve(coded) as client:
        assert client.post(CHAT, json=ask(audio)).json()["choices"][0]["message"]["content"] == expected
        form = {"data": {"model": "tiny"}, "files": {"file": ("a.wav", sound())}}
        assert client.post("/v1/audio/transcriptions", **form).json()["text"] == expected  # type: ignore[arg-type]
        refused = client.post(CHAT, json=ask(audio, temperature=1))
        message = "task 'spell' takes no options, got: temperature"
        assert fault(refused) == (400, "invalid_option", message, None)


def test_a_renderer_that_fails_is_a_model_that_fails(
    coded: mmkit.Model, serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mmkit_image.render.file", lambda value: 1 / 0)
    with serve(coded) as client:
        refused = client.post("/v1/tasks/draw", json={"input": {"word": "a"}})
    assert fault(refused) == (500, "model_failed", "the model failed on this request", None)
    assert "the model failed: PluginError at" in caplog.text
