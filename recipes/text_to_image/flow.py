"""``python -m recipes.text_to_image.flow``: train ``flow.yaml``, draw every article, let the image classifier name it.

The classifier is that of the recipe ``image_classification``, trained on real pictures only; it is trained here where its
folder ``runs/image_classification/spec-0`` (or ``--classifier``) is not there.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recipes.common.cache import made_once, recipe_folder, write_json
from recipes.common.run import RECIPES, link, use_all_cores
from recipes.image_classification import prepare

NAME, SPEC, TASK = "text_to_image", "flow.yaml", "draw"
LABELS = prepare.LABELS


def main() -> None:
    """The whole command line."""
    parser = argparse.ArgumentParser(prog=f"python -m recipes.{NAME}.flow", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and order")
    parser.add_argument("--each", type=int, default=50, help="pictures of every article")
    parser.add_argument("--guidance", type=float, nargs="*", default=[1.0, 2.0, 3.0], help="guidance to try")
    parser.add_argument("--classifier", type=Path, default=Path("runs/image_classification/spec-0"))
    options = parser.parse_args()
    import mmkit

    data = made_once(recipe_folder(prepare.NAME), prepare.VERSION, prepare.make)[0]
    use_all_cores()
    link(NAME, data)
    if not (options.classifier / "spec.json").is_file():
        link(prepare.NAME, data)
        mmkit.train(RECIPES / prepare.NAME / "spec.yaml", output=options.classifier, seed=0)
    output = Path("runs") / NAME / f"flow-{options.seed}"
    started = time.monotonic()
    model = mmkit.train(RECIPES / NAME / SPEC, output=output, seed=options.seed)
    given: dict[str, Any] = {
        "train_seconds": round(time.monotonic() - started),
        "parameters": sum(p.numel() for p in model.parameters()),
        "rows": [],
    }
    classifier, real = mmkit.load(options.classifier), real_pictures(data, options.each)
    given["rows"].append({"pictures": "real, of the test set", **judged(classifier, real)})
    for guidance in options.guidance:
        began = time.monotonic()
        pictures = drawn(model, options.each, guidance)
        seconds = (time.monotonic() - began) / sum(map(len, pictures.values()))
        row = {"pictures": f"drawn, guidance {guidance:g}", **judged(classifier, pictures)}
        given["rows"].append({**row, "seconds_a_picture": round(seconds, 4)})
        sheet(pictures).save(output / f"sheet-{guidance:g}.png")
    asked = [{"label": label} for label in LABELS]
    pairs = zip(mmkit.load(output).predict(TASK, asked), model.predict(TASK, asked), strict=True)
    given["reloaded_draws_the_same"] = all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)
    write_json(output / "results.json", given)
    print(json.dumps(given, indent=1))


def drawn(model: Any, each: int, guidance: float, batch: int = 100) -> dict[str, list[Image.Image]]:
    """``each`` pictures of every label, of seeds 0, 1, …"""
    import torch

    from mmkit.model.batch import pack
    from mmkit.model.model import Run

    head, prepared = model.parts.heads[TASK], model.preparer()
    usual, head.guidance = head.guidance, guidance
    found: dict[str, list[Image.Image]] = {}
    model.eval()
    for label in LABELS:
        sample = prepared(TASK, {"label": label}, target=False)
        found[label] = []
        for first in range(0, each, batch):
            seeds = range(first, min(each, first + batch))
            with torch.no_grad():
                run = Run(model, pack([sample] * len(seeds), model.processors()))
                features = [run.read(node, list(range(len(seeds)))) for node in model.plan.tasks[TASK].reads]
                found[label] += head.predict(features, seeds=seeds)
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


if __name__ == "__main__":
    main()
