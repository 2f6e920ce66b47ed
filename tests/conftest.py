"""Shapes in signatures are enforced in every test; tests use one thread a process; small data and plugins to install."""

import importlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from jaxtyping import install_import_hook

import mmkit
from mmkit.discovery.loader import discover

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
_HOOK = install_import_hook(  # before anything that needs torch is imported
    ["mmkit.ragged", "mmkit.interfaces", "mmkit.model", "mmkit_text", "mmkit_image", "mmkit_audio", "mmkit_tasks"],
    "beartype.beartype",
)


@pytest.fixture(autouse=True)
def _caches_of_their_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache of features."""
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path_factory.mktemp("cache")))


MOOD = [{"text": "a fine warm film", "label": "pos"}, {"text": "a dull cold film", "label": "neg"}]


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows as JSON lines into the test's folder."""

    def write(rows: Sequence[Mapping[str, Any] | str], name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
        return path

    return write


@pytest.fixture
def mood(write_rows: Callable[..., Path]) -> dict[str, Any]:
    """A small text classifier with eight rows to train and test on; a test changes what it is about."""
    source = {"task": "mood", "path": str(write_rows(MOOD * 4))}
    return {
        "mmkit": 1,
        "modalities": {"text": {"adapter": {"use": "words", "vocab_size": 50}}},
        "backbone": {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8},
        "tasks": {
            "mood": {"input": "{text}", "output": "{label}", "head": {"use": "classify", "labels": ["neg", "pos"]}}
        },
        "data": {"train": [source], "test": [source]},
        "train": {"stages": [{"name": "all", "steps": 2, "batch_size": 4}]},
    }


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., mmkit.Model]:
    """``mmkit.train`` into the test's folder, its lines collected in ``train.said``."""
    said: list[str] = []

    def run(spec: Any, **options: Any) -> mmkit.Model:
        return mmkit.train(spec, **{"output": tmp_path / "model", "say": said.append, **options})

    run.said = said  # type: ignore[attr-defined]
    return run


@pytest.fixture
def problems() -> Callable[..., list[str]]:
    """Every problem of a spec, as ``mmkit.check`` reports them."""

    def find(spec: Any, **options: Any) -> list[str]:
        with pytest.raises(mmkit.SpecError) as caught:
            mmkit.check(spec, **options)
        return [str(problem) for problem in caught.value.problems]

    return find


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Installs a distribution with one plugin as pip would: a module, and metadata with an entry point."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def add(name: str, code: str, version: str = "1.0", module: str = "") -> Path:
        module = module or f"plug_{name}"
        (site / f"{module}.py").write_text(code)
        info = site / f"mmkit_{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mmkit-{name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[mmkit]\n{name} = {module}\n")
        importlib.invalidate_caches()
        discover.cache_clear()
        return site

    yield add
    discover.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("plug_"):
            del sys.modules[name]


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """A PNG file of a colour ramp."""

    def draw(seed: int = 0, size: tuple[int, int] = (20, 16)) -> bytes:
        import numpy as np
        from PIL import Image

        pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    return draw


@pytest.fixture
def sound() -> Callable[..., bytes]:
    """A WAV file of a noisy tone, 16 kHz, mono."""

    def play(seed: int = 0, seconds: float = 0.25, rate: int = 16_000) -> bytes:
        import numpy as np
        import soundfile

        draw = np.random.default_rng(seed)
        time = np.arange(round(seconds * rate)) / rate
        wave = 0.3 * np.sin(2 * np.pi * draw.uniform(100, 900) * time) + draw.normal(0, 0.02, len(time))
        buffer = io.BytesIO()
        soundfile.write(buffer, wave.astype(np.float32), rate, format="WAV", subtype="PCM_16")
        return buffer.getvalue()

    return play
