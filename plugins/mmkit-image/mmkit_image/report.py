"""The report's pictures: what the model was shown, what it said, what was right."""

from mmkit import Evaluation
from mmkit_image.render import html


def pictures(evaluation: Evaluation) -> str | None:
    """A card a sample, of every task that reads pictures."""
    return evaluation.cards("image", html)
