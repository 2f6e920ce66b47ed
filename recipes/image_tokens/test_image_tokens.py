"""The spec of the recipe passes ``mmkit.check``, and its figures are what their names say."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import mmkit
from recipes.image_tokens.__main__ import VARIANTS
from recipes.image_tokens.codes import sheet, used
from recipes.image_tokens.prepare import enlarged, scores

HERE = Path(__file__).parent
SPECS = sorted(path.name for path in HERE.glob("*.yaml"))


@pytest.mark.parametrize("spec", SPECS)
def test_spec_passes_the_whole_check(spec: str) -> None:
    assert mmkit.check(HERE / spec, static=True)
    rows = mmkit.check(HERE / spec)
    assert sum(row.parameters for row in rows) == sum(row.trainable for row in rows) > 100_000


def test_every_spec_is_run_and_judged_by_tasks_that_it_has() -> None:
    assert sorted(variant.spec for variant in VARIANTS) == SPECS
    for variant in VARIANTS:
        tasks = yaml.safe_load((HERE / variant.spec).read_text("utf-8"))["tasks"]
        assert {figure.task for figure in variant.figures} <= set(tasks)


def test_scores_of_a_picture_beside_itself_are_the_best_and_of_its_thumbnail_lower() -> None:
    rows, columns = np.indices((28, 28))
    pictures = np.stack([(rows * 9 % 256), (columns * 30 % 256)]).astype(np.uint8)
    assert scores(pictures, pictures) == {"psnr": 100.0, "ssim": 1.0}
    small = scores(np.stack([enlarged(picture) for picture in pictures]), pictures)
    assert 5 < small["psnr"] < 40
    assert small["ssim"] < 0.9


def test_use_counts_the_codes_of_all_places() -> None:
    model = mmkit.build(HERE / "spec.yaml").eval()
    encoder = model.nodes()["image.encoder"]
    torch.nn.init.zeros_(encoder.project.weight)  # type: ignore[union-attr, arg-type]
    torch.nn.init.zeros_(encoder.project.bias)  # type: ignore[union-attr, arg-type]
    assert used(model, np.zeros((3, 28, 28), np.uint8)) == pytest.approx({"share": 1 / 240, "perplexity": 1.0})


def test_sheet_has_originals_above_what_was_drawn() -> None:
    drawn = sheet([Image.new("L", (28, 28), 10)] * 3, [Image.new("L", (28, 28), 200)] * 3)
    assert drawn.size == (168, 112)
    assert (drawn.getpixel((100, 10)), drawn.getpixel((100, 100))) == (10, 200)
