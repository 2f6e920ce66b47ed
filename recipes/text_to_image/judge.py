"""Pictures that a model draws, and what a classifier says that they are."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recipes.image_classification.prepare import LABELS

TASK = "draw"


def drawn(model: Any, each: int, guidance: float, batch: int = 100) -> dict[str, list[Image.Image]]:
    """``each`` pictures of every label, of seeds 0, 1, …"""
    head = model.parts.heads[TASK]
    options = {"guidance": guidance} if head.autoregressive else {}
    usual, head.guidance = getattr(head, "guidance", None), guidance
    found: dict[str, list[Image.Image]] = {label: [] for label in LABELS}
    for label, made in found.items():
        for first in range(0, each, batch):
            seeds = list(range(first, min(each, first + batch)))
            made += model.predict(TASK, [{"label": label}] * len(seeds), seed=seeds, **options)
    head.guidance = usual
    return found


def real_pictures(data: Path, each: int) -> dict[str, list[Image.Image]]:
    """The first ``each`` test pictures of every label."""
    import io

    import pyarrow.parquet as pq

    found: dict[str, list[Image.Image]] = {label: [] for label in LABELS}
    for row in pq.read_table(data / "test.parquet").to_pylist():
        if len(found[row["label"]]) < each:
            found[row["label"]].append(Image.open(io.BytesIO(row["image"]["bytes"])))
    return found


def judged(classifier: Any, pictures: dict[str, list[Image.Image]]) -> dict[str, Any]:
    """How often the classifier says what was asked for, and how varied the pictures of an article are: the mean over
    articles of the pixels' standard deviation, in levels of 255."""
    right, spread = {}, []
    for label, made in pictures.items():
        answers = classifier.predict("article", [{"image": one} for one in made])
        right[label] = sum(answer["label"] == label for answer in answers) / len(made)
        spread.append(float(np.stack([np.asarray(one, dtype=np.float32) for one in made]).std(0).mean()))
    return {
        "accuracy": round(float(np.mean(list(right.values()))), 4),
        "spread": round(float(np.mean(spread)), 1),
        "accuracy_of": {label: round(value, 3) for label, value in right.items()},
    }


def sheet(pictures: dict[str, list[Image.Image]], columns: int = 12) -> Image.Image:
    """A row of pictures for every article."""
    rows = [np.concatenate([np.asarray(one) for one in made[:columns]], 1) for made in pictures.values()]
    return Image.fromarray(np.concatenate(rows)).resize((columns * 56, len(rows) * 56))
