"""One untrained model with every kind of input and output, and its page."""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mmkit
from tests import small_codecs

pytest.importorskip("gradio", reason="pip install 'mmkit[play]'")
EXAMPLE = Path(__file__).parents[2] / "examples" / "mmkit-ecg"
NEW: dict[str, Any] = {
    "photo": {"encoder": {"use": "cnn", "image_size": 8, "channels": [4], "max_megapixels": 0.01}, "adapter": "linear"},
    "speech": {
        "encoder": {"use": "conformer", "dim": 8, "layers": 1, "heads": 2, "max_seconds": 30.0},
        "adapter": "linear",
    },
    "ecg": {"encoder": {"use": "ecg", "dim": 8, "layers": 2}, "adapter": "linear"},
}
TASKS: dict[str, Any] = {
    "caption": {
        "input": "{photo}",
        "output": "{caption}",
        "columns": {"caption": "text"},
        "head": {"use": "generate", "max_new_tokens": 5, "temperature": 0.5, "input_dropout": 0.1},
    },
    "say": {"input": "{text}", "output": "{sound}", "head": {"use": "generate", "temperature": 9.0, "seed": 3}},
    "mood": {"input": "{text}", "output": "{label}", "head": {"use": "classify", "labels": ["neg", "pos"]}},
    "hear": {"input": "{speech}", "output": "{label}", "head": {"use": "classify", "labels": ["no", "yes"]}},
    "beat": {"input": "{ecg}", "output": "{label}", "head": {"use": "classify", "labels": ["fast", "slow"]}},
}


@pytest.fixture
def model(install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[mmkit.Model]:
    """Draws, speaks, tells in parts, captions, classifies text, sound and heart beats."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    install("lab", small_codecs.CODE)
    install("ecg", "from mmkit_ecg.plugin import mmkit_components\n")
    old = small_codecs.SPEC
    spec = {**old, "modalities": {**old["modalities"], **NEW}, "tasks": {**old["tasks"], **TASKS}}
    yield mmkit.build(spec, fit={"text": ["a light dark <b>"]}).eval()
    for name in [name for name in sys.modules if name.startswith("mmkit_ecg")]:
        del sys.modules[name]


@pytest.fixture
def photo() -> bytes:
    """A PNG of 40 × 30 pixels."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((40, 30)).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()
