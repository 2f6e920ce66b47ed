"""Settings of the encoders, each with its vocabulary inside. Imports no torch."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, WrapValidator, model_validator
from pydantic_core import InitErrorDetails

from mmkit import Config, LocalPath
from mmkit_text.config import BpeConfig, CharactersConfig, TokenizerConfig, WordsConfig
from mmkit_text.texts import nearest


class WordsVocabulary(WordsConfig):
    """``words`` inside an encoder."""

    use: Literal["words"] = Field(description="The most frequent words of the training data.")


class CharactersVocabulary(CharactersConfig):
    """``characters`` inside an encoder."""

    use: Literal["characters"] = Field(description="The characters of the training data.")


class BpeVocabulary(BpeConfig):
    """``bpe`` inside an encoder."""

    use: Literal["bpe"] = Field(description="Byte-level BPE learnt from the training data.")


class TokenizerVocabulary(TokenizerConfig):
    """``tokenizer`` inside an encoder."""

    use: Literal["tokenizer"] = Field(description="A ready-made tokenizer.")


_KINDS: dict[str, type[Config]] = {
    "words": WordsVocabulary,
    "characters": CharactersVocabulary,
    "bpe": BpeVocabulary,
    "tokenizer": TokenizerVocabulary,
}


def _located(value: Any, handler: Callable[[Any], Any]) -> Any:
    """Findings at the key that is wrong (pydantic adds the union's tag to their place), with the nearest name."""
    if isinstance(value, dict) and str(value.get("use")).startswith("text/"):
        value = {**value, "use": value["use"].removeprefix("text/")}
    try:
        return handler(value)
    except ValidationError as error:
        findings = [_finding(found, value) for found in error.errors()]
        raise ValidationError.from_exception_data(error.title, findings) from None


def _finding(found: Any, value: Any) -> InitErrorDetails:
    place, kind, message = tuple(found["loc"][1:]), found["type"], str(found["msg"]).removeprefix("Value error, ")
    if kind == "union_tag_not_found":
        message = f"a vocabulary says what it is with use: {' | '.join(_KINDS)}"
    elif kind == "union_tag_invalid":
        got = str(value["use"])
        place, message = ("use",), f"unknown vocabulary {got!r}: {nearest(got, list(_KINDS))}"
    elif kind == "extra_forbidden":
        fields = list(_KINDS[str(found["loc"][0])].model_fields)
        message = f"unknown key {place[-1]!r}: {nearest(str(place[-1]), fields)}"
    elif kind != "value_error" and not isinstance(found["input"], dict | list):
        message += f" (got {found['input']!r})"
    return {"type": "value_error", "loc": place, "input": found["input"], "ctx": {"error": ValueError(message)}}


Vocabulary = Annotated[
    Annotated[WordsVocabulary | CharactersVocabulary | BpeVocabulary | TokenizerVocabulary, Field(discriminator="use")],
    WrapValidator(_located),
]
_VOCABULARY = "How text becomes ids: use: words, characters, bpe or tokenizer, with its options."


class RecurrentConfig(Config):
    """Settings of the encoders ``lstm`` and ``gru``."""

    vocabulary: Vocabulary = Field(description=_VOCABULARY)
    embedding_dim: int = Field(128, gt=0, description="Width of an id's embedding.")
    hidden_dim: int = Field(128, gt=0, description="Width of each direction's state.")
    layers: int = Field(1, gt=0, description="Stacked layers.")
    bidirectional: bool = Field(True, description="Read in both directions.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on embeddings and between layers.")
    max_length: int | None = Field(None, gt=0, description="Most ids of a text; longer ones are cut at their end.")


class TransformerEncoderConfig(Config):
    """Settings of the encoder ``transformer``."""

    vocabulary: Vocabulary = Field(description=_VOCABULARY)
    dim: int = Field(128, gt=0, description="Width of embeddings and states.")
    layers: int = Field(2, gt=0, description="Blocks.")
    heads: int = Field(4, gt=0, description="Attention heads.")
    ffn: int | None = Field(None, gt=0, description="Width of the feed-forward layers; default: 8/3 of `dim`.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout on embeddings and residual branches.")
    positions: Literal["rotary", "learned"] = Field("rotary", description="How an id knows its place.")
    max_length: int = Field(512, gt=0, description="Most ids of a text; longer ones are cut at their end.")

    @model_validator(mode="after")
    def _fits(self) -> "TransformerEncoderConfig":
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim must be a multiple of 2 x heads = {2 * self.heads}, got {self.dim}")
        return self


class HfTextConfig(Config):
    """Settings of ``hf-text``; exactly one of ``path``, ``hub`` and ``config`` is given."""

    path: LocalPath | None = Field(
        None, description="Folder in the hub's form: config.json, safetensors weights, tokenizer."
    )
    hub: str | None = Field(None, description="Name on the model hub, fetched by transformers.")
    config: dict[str, Any] | None = Field(
        None, description="Architecture with its model_type, as in a config.json; random weights."
    )
    vocabulary: Vocabulary | None = Field(
        None, description=f"{_VOCABULARY} Default: the tokenizer of the folder or the hub, which `config` has not."
    )
    features: Literal["tokens", "mean", "cls"] = Field(
        "tokens",
        description="tokens: one row an id, [CLS] and [SEP] included; mean: their mean; cls: the first one.",
    )
    normalise: bool = Field(False, description="Scale every row to length 1.")
    max_length: int | None = Field(
        None,
        gt=0,
        description="Most ids of a text, [CLS] and [SEP] included; longer ones are cut at their end. Default: as many "
        "as the files name, or the model has positions.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "HfTextConfig":
        if sum(source is not None for source in (self.path, self.hub, self.config)) != 1:
            raise ValueError("give exactly one of path, hub and config")
        if self.config is not None and self.vocabulary is None:
            raise ValueError(
                "config names no tokenizer: say how text becomes ids with vocabulary, {use: bpe} for example"
            )
        return self
