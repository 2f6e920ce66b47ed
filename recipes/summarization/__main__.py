"""``python -m recipes.summarization``: data, weights, fine-tuning, synopses of unseen packages, and the table."""

from recipes.common.run import Figure, Variant, run
from recipes.summarization.prepare import NAME, VERSION, make

BASELINES = ("first sentence", "first eight words")

FIGURES = [Figure("summarize", metric, of) for metric in ("rougeL", "rouge1", "rouge2") for of in BASELINES]
VARIANTS = [Variant("spec.yaml", FIGURES)]

if __name__ == "__main__":
    run(NAME, VERSION, make, VARIANTS, weights=["smollm2_135m"])
