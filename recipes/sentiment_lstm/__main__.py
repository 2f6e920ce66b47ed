"""``python -m recipes.sentiment_lstm``: data, the classic classifier, and the table."""

from recipes.common.run import Figure, Variant, run
from recipes.sentiment_lstm.prepare import NAME, VERSION, make

BASELINES = ("always the commonest label", "naive Bayes on words and pairs of words")

VARIANTS = [Variant("spec.yaml", [Figure("mood", "accuracy", of) for of in BASELINES])]

if __name__ == "__main__":
    run(NAME, VERSION, make, VARIANTS)
