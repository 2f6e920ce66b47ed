"""``python -m recipes.audio_classification``: data, training, evaluation, the table beside the baseline."""

from recipes.audio_classification.prepare import NAME, VERSION, make
from recipes.common.run import Figure, Variant, run

VARIANTS = [Variant("spec.yaml", [Figure("tone", "accuracy", "always the commonest label")])]

if __name__ == "__main__":
    run(NAME, VERSION, make, VARIANTS)
