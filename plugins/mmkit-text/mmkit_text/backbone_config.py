"""Settings of the backbones. Imports no torch."""

from typing import Literal

from pydantic import Field, model_validator

from mmkit import Config


class TransformerConfig(Config):
    """Settings of ``transformer``."""

    dim: int = Field(256, gt=0, description="Width of tokens and hidden states.")
    layers: int = Field(4, gt=0, description="Blocks (of the encoder, in the encoder-decoder form).")
    decoder_layers: int | None = Field(None, gt=0, description="Decoder blocks; default: as many as `layers`.")
    heads: int = Field(4, gt=0, description="Attention heads.")
    ffn: int | None = Field(None, gt=0, description="Width of the feed-forward layers; default: 8/3 of `dim`.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout on tokens and residual branches.")
    form: Literal["decoder", "encoder-decoder"] = Field("decoder", description="One stack, or two.")
    prompt: Literal["bidirectional", "causal"] = Field(
        "bidirectional", description="How a decoder's prompt sees itself."
    )
    tie: bool = Field(True, description="Scores by the embedding table instead of a layer of their own.")

    @model_validator(mode="after")
    def _fits(self) -> "TransformerConfig":
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim must be a multiple of 2 x heads = {2 * self.heads}, got {self.dim}")
        if self.decoder_layers is not None and self.form == "decoder":
            raise ValueError("decoder_layers belongs to form: encoder-decoder")
        return self


class NoneConfig(Config):
    """Settings of ``none``."""

    dim: int = Field(256, gt=0, description="Width of the tokens.")
