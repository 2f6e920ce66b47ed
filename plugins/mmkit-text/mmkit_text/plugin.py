"""What this plugin offers. Imports no torch."""

from mmkit import Component, hookimpl


@hookimpl
def mmkit_components() -> list[Component]:
    """Vocabularies and backbones for text."""
    return [
        Component(
            kind="vocabulary",
            name="words",
            summary="The most frequent words of the training data, as the Keras Tokenizer counts them.",
            builder="mmkit_text.words:build",
            config="mmkit_text.config:WordsConfig",
            modality="text",
        ),
        Component(
            kind="backbone",
            name="lstm",
            summary="Embedding and LSTM; generates unless bidirectional.",
            builder="mmkit_text.lstm:build",
            config="mmkit_text.config:LstmConfig",
        ),
    ]
