"""Records of the backbones. Imports no torch."""

from mmkit import Component

BACKBONES = [
    Component(
        kind="backbone",
        name="lstm",
        cases="mmkit_text.conformance:lstm",
        summary="Embedding and LSTM; generates unless bidirectional.",
        builder="mmkit_text.lstm:build",
        config="mmkit_text.config:LstmConfig",
        generates=True,
    ),
    Component(
        kind="backbone",
        name="transformer",
        cases="mmkit_text.conformance:transformer",
        summary="A small transformer from scratch: prefix decoder, or encoder and decoder.",
        builder="mmkit_text.transformer_backbone:build",
        config="mmkit_text.backbone_config:TransformerConfig",
        generates=True,
    ),
    Component(
        kind="backbone",
        name="causal-lm",
        cases="mmkit_text.conformance:causal_lm",
        summary="A causal language model of transformers: folder, hub, GGUF or architecture.",
        builder="mmkit_text.causal_lm:build",
        config="mmkit_text.backbone_config:CausalLmConfig",
        generates=True,
    ),
    Component(
        kind="backbone",
        name="seq2seq-lm",
        cases="mmkit_text.conformance:seq2seq_lm",
        summary="An encoder-decoder language model of transformers: T5, BART, Marian and others.",
        builder="mmkit_text.seq2seq_lm:build",
        config="mmkit_text.backbone_config:Seq2SeqLmConfig",
        generates=True,
    ),
    Component(
        kind="backbone",
        name="none",
        cases="mmkit_text.conformance:none",
        summary="Tokens pass through.",
        builder="mmkit_text.none:build",
        config="mmkit_text.backbone_config:NoneConfig",
    ),
]
