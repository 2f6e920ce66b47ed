"""``python -m recipes.image_classification``: data, training, evaluation, the table beside the baselines."""

from recipes.common.run import Figure, Variant, run
from recipes.image_classification.prepare import NAME, VERSION, make

VARIANTS = [
    Variant(
        "spec.yaml",
        [
            Figure("article", "accuracy", "always the commonest label"),
            Figure("article", "accuracy", "nearest class mean of the pixels"),
        ],
    )
]

if __name__ == "__main__":
    run(NAME, VERSION, make, VARIANTS)
