"""``python -m recipes.image_tokens``: data, training, evaluation, the table beside the baselines, a sheet of pictures."""

from pathlib import Path

from recipes.common.cache import write_json
from recipes.common.run import Figure, Variant, run
from recipes.image_tokens.codes import look
from recipes.image_tokens.prepare import MEAN, NAME, THUMBNAIL, VERSION, make

VARIANTS = [
    Variant(
        "spec.yaml",
        [Figure("rebuild", metric, baseline) for metric in ("psnr", "ssim") for baseline in (THUMBNAIL, MEAN)],
    )
]

if __name__ == "__main__":
    for given in run(NAME, VERSION, make, VARIANTS):
        folder = Path("runs") / NAME / f"{Path(given['spec']).stem}-{given['seed']}"
        given["codes"] = look(folder, NAME)
        write_json(folder / "results.json", given)
        print(f"codes used: {given['codes']['share']:.1%}, perplexity {given['codes']['perplexity']:.1f}")
        print(f"pictures: {folder / 'rebuilt.png'}")
