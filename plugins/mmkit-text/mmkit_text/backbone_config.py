"""Settings of the backbones. Imports no torch."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from mmkit import Config, LocalPath


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
        if self.prompt == "causal" and self.form == "encoder-decoder":
            raise ValueError("prompt: causal belongs to form: decoder; an encoder reads in both directions")
        return self


class _LmConfig(Config):
    """Where a transformers language model comes from: exactly one of path, hub, gguf (or path and gguf), config."""

    path: LocalPath | None = Field(None, description="Folder in the form of the hub: config.json, model.safetensors.")
    hub: str | None = Field(None, min_length=1, description="Name on the hub, or in its local cache.")
    gguf: str | None = Field(
        None, min_length=1, description="A GGUF file, within `path` if that is given; read as full-precision weights."
    )
    config: dict[str, Any] | None = Field(
        None, description="An architecture, `model_type` and its settings, with fresh weights."
    )
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="Type of the weights.")

    @field_validator("gguf")
    @classmethod
    def _locate(cls, value: str | None, info: Any) -> str | None:
        """From the model's folder, else from the folder of the spec."""
        folder = info.data.get("path") or (info.context or {}).get("root")
        if value is None:
            return None
        path = Path(value).expanduser()
        return str(Path(folder) / path) if folder else str(path)

    @model_validator(mode="after")
    def _one_source(self) -> "_LmConfig":
        given = [name for name in ("path", "hub", "gguf", "config") if getattr(self, name) is not None]
        if len(given) != 1 and given != ["path", "gguf"]:
            raise ValueError(
                f"give one of path, hub, gguf, config (or path and gguf), got: {', '.join(given) or 'none'}"
            )
        if self.config is not None and not isinstance(self.config.get("model_type"), str):
            raise ValueError("config needs model_type, the architecture's name in transformers, for example llama")
        return self


class CausalLmConfig(_LmConfig):
    """Settings of ``causal-lm``."""

    attention: Literal["packed", "varlen", "flex", "documents", "sdpa", "eager"] = Field(
        "packed",
        description="packed: no padding, where the architecture allows it, with the fastest of varlen (kernels of a GPU), "
        "flex (FlexAttention) and documents (one after another) that fits; sdpa and eager pad the batch.",
    )
    prefix: list[Annotated[int, Field(ge=0)]] = Field(
        [], description="Ids of the model's table before every prompt, such as that of `<s>`."
    )
    begin: bool = Field(
        True,
        description="An answer begins with a begin id. false: its first id is predicted from the prompt's last token, as in "
        "a language model that was trained without one.",
    )


class Seq2SeqLmConfig(_LmConfig):
    """Settings of ``seq2seq-lm``."""

    attention: Literal["auto", "sdpa", "eager"] = Field(
        "auto", description="transformers' attention function; auto: the fastest that the architecture has."
    )
    memory: Literal["encoded", "given"] = Field(
        "encoded",
        description="encoded: its own encoder reads the prompt. given: the prompt is what the decoder attends to, made by an "
        "encoder of a modality; the model has a decoder only (Whisper's, for example).",
    )
    prefix: list[Annotated[int, Field(ge=0)]] = Field(
        [],
        description="Ids of the model's table that the decoder reads before the begin id, such as language and task.",
    )


class NoneConfig(Config):
    """Settings of ``none``."""

    dim: int = Field(256, gt=0, description="Width of the tokens.")
