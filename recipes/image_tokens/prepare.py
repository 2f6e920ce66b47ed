"""Fashion-MNIST again, as in ``recipes.image_classification``: ``python -m recipes.image_tokens.prepare``.

Writes ``train.parquet``, ``valid.parquet`` and ``test.parquet``, and scores what needs no model: the mean of the training
pictures, and a thumbnail of as many bits as the codes.
"""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

from recipes.common.cache import write_json
from recipes.common.report import main
from recipes.image_classification.prepare import make as make_pictures

NAME, VERSION = "image_tokens", "1"
GRID = 7
MEAN, THUMBNAIL = (
    "the mean of the training pictures",
    "a thumbnail of 7 × 7 pixels, enlarged (392 bits; the codes have 387)",
)


def make(folder: Path) -> None:
    """The pictures of the classification recipe, with baselines of their own."""
    make_pictures(folder)
    test = pictures(folder / "test.parquet")
    mean = pictures(folder / "train.parquet").mean(0).round().astype(np.uint8)
    small = np.stack([enlarged(picture) for picture in test])
    kept = ("source", "licence", "rows", "training pictures that are in the test set, left out")
    said = json.loads((folder / "baseline.json").read_text("utf-8"))
    baselines = {name: said[name] for name in kept}
    baselines[MEAN] = scores(np.broadcast_to(mean, test.shape), test)
    baselines[THUMBNAIL] = scores(small, test)
    write_json(folder / "baseline.json", baselines)


def pictures(path: Path) -> "np.ndarray":
    """All pictures of a file, uint8[pictures, 28, 28]."""
    column = pq.read_table(path, columns=["image"])["image"]
    return np.stack([np.asarray(Image.open(io.BytesIO(one["bytes"].as_py()))) for one in column])


def enlarged(picture: "np.ndarray") -> "np.ndarray":
    """A picture made small by averaging and large again by cubic interpolation."""
    image = Image.fromarray(picture)
    return np.asarray(image.resize((GRID, GRID), Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC))


def scores(got: "np.ndarray", wanted: "np.ndarray", batch: int = 1000) -> dict[str, float]:
    """PSNR and SSIM, means over pictures, as the head ``rebuild-image`` counts them."""
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    psnr = ssim = 0.0
    for at in range(0, len(got), batch):
        pair = [torch.from_numpy(part[at : at + batch, None] / 255) for part in (got, wanted)]
        psnr += float(
            peak_signal_noise_ratio(*pair, data_range=1.0, reduction="none", dim=(1, 2, 3)).clamp(max=100).sum()
        )
        each = structural_similarity_index_measure(*pair, data_range=1.0, reduction="none")
        assert isinstance(each, torch.Tensor)
        ssim += float(each.sum())
    return {"psnr": round(psnr / len(got), 3), "ssim": round(ssim / len(got), 4)}


if __name__ == "__main__":
    main(NAME, VERSION, make, __doc__ or "")
