"""The report's sounds: to be played, with their log-mel spectrograms."""

from mmkit import Evaluation
from mmkit_audio.render import html


def sounds(evaluation: Evaluation) -> str | None:
    """A card a sample, of every task that listens."""
    return evaluation.cards("audio", html)
