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
        cases=f"mmkit_text.conformance:{name}",
    )


def _encoder(name: str, summary: str, builder: str, config: str, cases: str = "recurrent") -> Component:
    return Component(
        kind="encoder",
        name=name,
        summary=summary,
        builder=f"mmkit_text.{builder}",
        config=f"mmkit_text.encoder_config:{config}",
        modality="text",
        cases=f"mmkit_text.conformance:{cases}",
    )


VOCABULARIES_AND_ENCODERS = [
    _vocabulary("words", "The most frequent words of the training data, as the Keras Tokenizer counts them."),
    _vocabulary("characters", "One id a character of the training data."),
    _vocabulary("bpe", "Byte-level BPE learnt from the training data."),
    _vocabulary("tokenizer", "A ready-made tokenizer: a tokenizer.json, a folder or a name on the hub."),
    _encoder("lstm", "Embedding and LSTM over a text.", "recurrent_encoder:build_lstm", "RecurrentConfig"),
    _encoder("gru", "Embedding and GRU over a text.", "recurrent_encoder:build_gru", "RecurrentConfig"),
    _encoder(
        "transformer",
        "A small bidirectional transformer from scratch.",
        "transformer_encoder:build",
        "TransformerEncoderConfig",
        "transformer_encoder",
    ),
    _encoder(
        "hf-text",
        "Any text encoder of transformers: BERT, RoBERTa, MPNet …",
        "hf_text:build",
        "HfTextConfig",
        "hf_text",
    ),
]


@hookimpl
def mmkit_components() -> list[Component]:
    """Vocabularies, encoders and backbones for text."""
    return [*VOCABULARIES_AND_ENCODERS, *BACKBONES]
