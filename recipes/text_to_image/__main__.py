"""``python -m recipes.text_to_image``: train, draw every article of clothing, let a classifier name the pictures.

The classifier is that of the recipe ``image_classification``, which has seen real pictures only; the codes are those of
``image_tokens``. Both are trained here where their folders under ``runs`` are not there.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from recipes.common.cache import write_json
from recipes.common.run import RECIPES, data_of, folder_of, link, use_all_cores
from recipes.image_classification import prepare
from recipes.image_tokens import prepare as image_tokens
from recipes.text_to_image.judge import LABELS, TASK, drawn, judged, real_pictures, sheet

NAME, SPECS = "text_to_image", ("spec.yaml", "flow.yaml")


def main() -> None:
    """The whole command line."""
    parser = argparse.ArgumentParser(prog=f"python -m recipes.{NAME}", description=__doc__)
    parser.add_argument("--only", choices=SPECS, nargs="*", default=SPECS, help="the specs to run; default: all")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and order")
    parser.add_argument("--each", type=int, default=50, help="pictures of every article")
    parser.add_argument("--guidance", type=float, nargs="*", default=[1.0, 2.0, 3.0], help="guidance to try")
    options = parser.parse_args()
    data = data_of(prepare)
    use_all_cores()
    classifier = folder_of(prepare.NAME, lambda: data)
    link(NAME, data, codec=folder_of(image_tokens.NAME, lambda: data) if "spec.yaml" in options.only else None)
    for spec in options.only:
        _run(spec, classifier, data, options)


def _run(spec: str, judge: Path, data: Path, options: argparse.Namespace) -> None:
    import mmkit

    output = Path("runs") / NAME / f"{Path(spec).stem}-{options.seed}"
    started = time.monotonic()
    model = mmkit.train(RECIPES / NAME / spec, output=output, seed=options.seed)
    given: dict[str, Any] = {
        "spec": spec,
        "train_seconds": round(time.monotonic() - started),
        "parameters": sum(p.numel() for p in model.parameters()),
        "rows": [],
    }
    classifier = mmkit.load(judge)
    given["rows"].append({"pictures": "real, of the test set", **judged(classifier, real_pictures(data, options.each))})
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


if __name__ == "__main__":
    main()
