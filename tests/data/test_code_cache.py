"""Ids of a codec's values on disk: made once, found by workers, evaluations and later runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import mmkit
from mmkit.cli import main
from mmkit.data.cache import folder as cache_folder
from mmkit.data.cache.folder import RECORD, encoders

CODE = '''
import io, os
from pathlib import Path
import numpy as np
import torch
from PIL import Image
from mmkit import Codec, CodeLayout, Component, Config, hookimpl

class Options(Config):
    shades: int = 4
    log: str

class Grey(Codec):
    """Shades of 2 × 2 places; every value that is looked at is a line of a log."""

    grid = (2, 2)

    def __init__(self, shades, log):
        self.shades, self.log = shades, log
        self.layout = CodeLayout(codes=shades, longest_frames=4, shortest_frames=4)

    def quantize(self, raw):
        with open(self.log, "a") as file:
            file.write(f"{os.getpid()}\\n")
        picture = Image.open(io.BytesIO(raw) if isinstance(raw, bytes) else raw)
        pixels = np.asarray(picture.convert("L").resize((2, 2), Image.Resampling.BOX)).reshape(4, 1)
        return torch.from_numpy(pixels.astype(np.int64) * self.shades // 256)

    def restore(self, codes):
        return Image.new("L", (2, 2))

    def save_assets(self, folder):
        (folder / "weights.txt").write_text("0.5")

def build(context, *, shades, log):
    return Grey(shades, log)

@hookimpl
def mmkit_components():
    return [Component("vocabulary", "shades", "Shades.", "plug_lab:build", "plug_lab:Options", modality="image")]
'''
PICTURES = 6


class Lab:
    """A spec that draws, and how often its codec was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log.txt"
        rows = []
        for number in range(PICTURES):
            Image.new("L", (2, 2), 40 * number).save(folder / f"{number}.png")
            rows.append(json.dumps({"text": f"{number}", "picture": f"{number}.png"}))
        (folder / "rows.jsonl").write_text("\n".join(rows) + "\n")

    def spec(self, workers: int = 0, shades: int = 4, **cache: Any) -> dict[str, Any]:
        source = {"task": "draw", "path": str(self.folder / "rows.jsonl")}
        return {
            "mmkit": 1,
            "modalities": {
                "text": {"adapter": "characters"},
                "picture": {"adapter": {"use": "shades", "shades": shades, "log": str(self.log)}},
            },
            "backbone": {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8},
            "tasks": {"draw": {"input": "{text}", "output": "{picture}", "head": "generate"}},
            "data": {"train": [source], "test": [source], "workers": workers},
            "train": {"stages": [{"name": "all", "steps": 6, "batch_size": 3}], **cache},
        }

    def asked(self) -> int:
        """How often since the last call."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return len(lines)


@pytest.fixture
def lab(install: Callable[..., Path], tmp_path: Path) -> Lab:
    install("lab", CODE)
    return Lab(tmp_path)


def _segments(suffix: str) -> list[Path]:
    return sorted(cache_folder.default_folder().rglob(f"*{suffix}"))


def test_a_second_run_an_evaluation_and_workers_ask_no_more(lab: Lab, train: Callable[..., mmkit.Model]) -> None:
    first = train(lab.spec())
    assert lab.asked() == PICTURES
    again = train(lab.spec(), output=lab.folder / "again")
    train(lab.spec(workers=2), output=lab.folder / "third")
    found = mmkit.evaluate(again)
    assert lab.asked() == 0
    assert found["draw"].metrics.keys() >= {"loss"}
    for (name, one), (_, other) in zip(first.named_parameters(), again.named_parameters(), strict=True):
        assert (one == other).all(), name
    size = PICTURES * (RECORD + 64)
    (kept,) = encoders(cache_folder.default_folder())
    assert (kept.component, kept.node, kept.entries) == ("lab/shades", "picture.adapter", PICTURES)
    lines = [line for line in train.said if line.startswith("code cache")]  # type: ignore[attr-defined]
    assert lines[0].startswith("code cache: picture.adapter: 0 values were known, 6 were added; ")
    assert lines[1].startswith("code cache: picture.adapter: 6 values were known, 0 were added; ")
    assert sum(path.stat().st_size for path in _segments(".index") + _segments(".data")) == size


def test_workers_add_what_they_encode(lab: Lab, train: Callable[..., mmkit.Model]) -> None:
    train(lab.spec(workers=2))
    assert lab.asked() >= PICTURES  # two workers may meet one picture at once
    train(lab.spec(), output=lab.folder / "again")
    assert lab.asked() == 0


def test_another_content_and_another_codec_are_not_mistaken_for_the_first(
    lab: Lab, train: Callable[..., mmkit.Model]
) -> None:
    train(lab.spec())
    lab.asked()
    Image.new("L", (2, 2), 255).save(lab.folder / "0.png")
    train(lab.spec(), output=lab.folder / "again")
    assert lab.asked() == 1
    train(lab.spec(shades=8), output=lab.folder / "finer")
    assert lab.asked() == PICTURES


def test_damaged_ids_are_made_again(lab: Lab, train: Callable[..., mmkit.Model]) -> None:
    train(lab.spec())
    lab.asked()
    (path,) = _segments(".data")
    content = bytearray(path.read_bytes())
    content[3] ^= 64  # an id far beyond the codec's size
    path.write_bytes(content)
    train(lab.spec(), output=lab.folder / "again")
    assert lab.asked() == 1


def test_it_can_be_switched_off_and_cleared(
    lab: Lab, train: Callable[..., mmkit.Model], capsys: pytest.CaptureFixture[str]
) -> None:
    train(lab.spec(cache="never"))
    assert (lab.asked(), _segments(".index")) == (PICTURES, [])
    train(lab.spec(), output=lab.folder / "kept")
    for line, said in (
        (["cache"], "picture.adapter: lab/shades 1.0"),
        (["cache", "clear", "lab/shades"], "removed 1 of 1"),
    ):
        with pytest.raises(SystemExit):
            main(line)
        assert said in " ".join(capsys.readouterr().out.split())
    assert _segments(".index") == []


def test_a_full_cache_ends_the_writing_and_not_the_run(lab: Lab, train: Callable[..., mmkit.Model]) -> None:
    train(lab.spec(cache={"size": "1kB"}))
    (line,) = [line for line in train.said if line.startswith("code cache")]  # type: ignore[attr-defined]
    assert line.startswith("code cache: picture.adapter: 0 values were known, 0 were added; ")
    assert "nothing more is added" in line
    assert lab.asked() == PICTURES
