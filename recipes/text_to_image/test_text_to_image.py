"""The specs pass ``mmkit.check``; pictures are judged one for one."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import mmkit
from recipes.image_classification.prepare import LABELS
from recipes.text_to_image.judge import drawn, judged, sheet

HERE = Path(__file__).parent


class Namer:
    """A classifier that goes by the brightness of the first pixel."""

    def predict(self, task: str, rows: list[dict[str, Any]]) -> list[dict[str, str]]:
        assert task == "article"
        return [{"label": LABELS[int(np.asarray(row["image"])[0, 0])]} for row in rows]


def test_flow_passes_the_whole_check() -> None:
    rows = mmkit.check(HERE / "flow.yaml")
    assert sum(row.parameters for row in rows) == sum(row.trainable for row in rows) > 500_000


def test_codes_pass_the_whole_check(tmp_path: Path) -> None:
    """With a tokenizer that has learnt nothing."""
    mmkit.build(HERE.parent / "image_tokens" / "spec.yaml").save(tmp_path / "codec")
    (tmp_path / "spec.yaml").write_text((HERE / "spec.yaml").read_text("utf-8"), "utf-8")
    assert mmkit.check(tmp_path / "spec.yaml", static=True)
    rows = mmkit.check(tmp_path / "spec.yaml")
    assert sum(row.parameters for row in rows) == sum(row.trainable for row in rows) > 500_000


def test_pictures_are_judged_by_what_was_asked_for() -> None:
    pictures = {label: [Image.new("L", (28, 28), number)] * 4 for number, label in enumerate(LABELS)}
    pictures["bag"] = pictures["bag"][:2] + pictures["dress"][:2]
    found = judged(Namer(), pictures)
    assert found["accuracy_of"]["bag"] == 0.5
    assert found["accuracy"] == 0.95
    assert sheet(pictures, 2).size == (112, 560)


def test_every_label_is_drawn_with_different_seeds() -> None:
    spec = {
        "mmkit": 1,
        "modalities": {
            "text": {"adapter": "words"},
            "image": {"adapter": {"use": "image-patches", "image_size": 8, "channels": 1}},
        },
        "backbone": {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8},
        "tasks": {"draw": {"input": "a {label}", "output": "{image}", "head": {"use": "flow", "dim": 8, "layers": 1}}},
    }
    model = mmkit.build(spec, fit={"text": [f"a {label}" for label in LABELS]})
    pictures = drawn(model, 3, 1.5, batch=2)
    assert [len(made) for made in pictures.values()] == [3] * 10
    first, second, _ = pictures["bag"]
    assert not np.array_equal(np.asarray(first), np.asarray(second))
    assert np.array_equal(np.asarray(first), np.asarray(model.predict("draw", {"label": "bag"})))
