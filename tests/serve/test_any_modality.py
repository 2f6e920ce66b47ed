"""A modality that neither mmkit nor OpenAI knows: the ECG plugin of the examples, served."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit
from tests.serve.conftest import Serve, ask, fault

EXAMPLE = Path(__file__).parents[2] / "examples" / "mmkit-ecg"
BEAT = [math.sin(n / 9) for n in range(400)]
SPEC: dict[str, Any] = {
    "mmkit": 1,
    "modalities": {
        "chest": {"encoder": {"use": "ecg", "dim": 8, "layers": 2}, "adapter": "linear"},
        "text": {"adapter": "words"},
    },
    "backbone": {"use": "transformer", "dim": 16, "layers": 1, "heads": 2},
    "tasks": {
        "rhythm": {"input": "{chest}", "output": "{r}", "head": {"use": "classify", "labels": ["normal", "fast"]}},
        "report": {"input": "{chest}", "output": "{said}", "columns": {"said": "text"}, "head": "generate"},
    },
}


@pytest.fixture
def ecg(install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> mmkit.Model:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    install("ecg", "from mmkit_ecg.plugin import mmkit_components  # noqa: F401")
    return mmkit.build(SPEC, fit={"text": ["a fast beat"]})


def part(label: str, value: Any) -> dict[str, Any]:
    return {"type": f"x-{label}", f"x-{label}": value}


def test_an_ecg_is_asked_about_by_its_kind_by_its_modality_and_by_its_column(ecg: mmkit.Model, serve: Serve) -> None:
    with serve(ecg) as client:
        for label in ("ecg", "chest"):
            answer = client.post("/v1/chat/completions", json=ask(part(label, BEAT), temperature=1, seed=3)).json()
            expected = ecg.predict("report", {"chest": BEAT}, temperature=1, seed=3)
            assert answer["choices"][0]["message"]["content"] == expected
        own = client.post("/v1/tasks/rhythm", json={"input": {"chest": BEAT}}).json()
        assert own["output"]["label"] == ecg.predict("rhythm", {"chest": BEAT})["label"]
        tasks = client.get("/v1/tasks").json()["data"]
        assert tasks[0]["columns"] == [{"name": "chest", "modality": "chest", "kind": "ecg"}]


def test_what_is_no_ecg_is_refused(ecg: mmkit.Model, serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "beat.txt"
    file.write_text("0.1 0.2")
    with serve(ecg) as client:
        place = "messages.0.content.0.x-ecg"
        how = "send a data URI (data:TYPE;base64,…)"
        for value, expected in (
            (str(file), ("invalid_media", f"{place}: not a data URI; {how}", place)),
            ([str(file)], ("invalid_media", f"{place}: text inside, or nested too deeply; {how}, or numbers", place)),
            ([[1.0]], ("invalid_value", "column 'chest': wanted 1 to 7,680 numbers in one row, got the shape [1, 1]", None)),
            ([10**400], ("invalid_value", "a value of task 'report' cannot be read", None)),
            (True, ("invalid_value", "column 'chest': wanted 1 to 7,680 numbers in one row, got the shape []", None)),
            (None, ("invalid_value", "column 'chest' is empty", None)),
        ):  # fmt: skip
            answer = client.post("/v1/chat/completions", json=ask(part("ecg", value)))
            assert fault(answer) == (400, *expected)
