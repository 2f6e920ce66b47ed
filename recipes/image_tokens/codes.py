"""What the codes of a trained tokenizer are like, and its pictures beside the originals."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import mmkit
from recipes.common.run import RECIPES

SHOWN, ENLARGE = 16, 2


def used(model: mmkit.Model, pictures: "np.ndarray", batch: int = 500) -> dict[str, float]:
    """``share``: codes that some place of some picture has; ``perplexity``: 2 to the entropy of their frequencies."""
    encoder: Any = model.nodes()["image.encoder"]
    prepare, counts = encoder.processor(), torch.zeros(encoder.fsq.codes)
    with torch.no_grad():
        for at in range(0, len(pictures), batch):
            rows = encoder(prepare.collate([prepare(one) for one in pictures[at : at + batch]])).values
            counts += torch.bincount(encoder.fsq.numbers(rows), minlength=encoder.fsq.codes)
    share = counts / counts.sum()
    entropy = -(share * share.clamp(min=1e-12).log2()).sum()
    return {"share": float((counts > 0).float().mean()), "perplexity": float(2**entropy)}


def sheet(originals: list[Image.Image], rebuilt: list[Image.Image]) -> Image.Image:
    """Two rows: originals above what was drawn from their codes."""
    side = originals[0].width * ENLARGE
    drawn = Image.new("L", (side * len(originals), 2 * side), 255)
    for row, images in enumerate((originals, rebuilt)):
        for column, image in enumerate(images):
            drawn.paste(image.convert("L").resize((side, side), Image.Resampling.NEAREST), (column * side, row * side))
    return drawn


def look(folder: Path, name: str) -> dict[str, float]:
    """Codebook use on the test pictures; writes ``rebuilt.png`` into the folder of the run."""
    from recipes.image_tokens.prepare import pictures

    model, test = mmkit.load(folder), pictures(RECIPES / name / "data" / "test.parquet")
    originals = [Image.fromarray(one) for one in test[:SHOWN]]
    rebuilt = model.predict("rebuild", [{"image": one} for one in originals])
    sheet(originals, rebuilt).save(folder / "rebuilt.png")
    return used(model, test)
