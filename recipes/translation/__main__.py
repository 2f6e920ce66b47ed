"""``python -m recipes.translation``: data, training, beam search on unseen packages, and the table."""

from recipes.common.run import Figure, Variant, run
from recipes.translation.prepare import NAME, VERSION, make

COPY, TYPICAL = "copy the English", "always the most typical Italian synopsis"

VARIANTS = [
    Variant("spec.yaml", [Figure("translate", metric, of) for metric in ("bleu", "chrf") for of in (COPY, TYPICAL)])
]

if __name__ == "__main__":
    run(NAME, VERSION, make, VARIANTS)
