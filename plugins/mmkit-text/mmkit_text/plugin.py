"""What this plugin offers. Imports no torch."""

from mmkit import Component, hookimpl
from mmkit_text.backbone_components import BACKBONES


def _vocabulary(name: str, summary: str) -> Component:
    return Component(
        kind="vocabulary",
        name=name,
        summary=summary,
        builder=f"mmkit_text.{name}:build",
        config=f"mmkit_text.config:{name.capitalize()}Config",
        modality="text",
    )


@hookimpl
def mmkit_components() -> list[Component]:
    """Vocabularies, encoders and backbones for text."""
    return [
        _vocabulary("words", "The most frequent words of the training data, as the Keras Tokenizer counts them."),
        _vocabulary("characters", "One id a character of the training data."),
        _vocabulary("bpe", "Byte-level BPE learnt from the training data."),
        *BACKBONES,
    ]
