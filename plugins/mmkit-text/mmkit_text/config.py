"""Settings of the components. Imports no torch."""

from pydantic import Field, model_validator

from mmkit import Config, LocalPath


class WordsConfig(Config):
    """Settings of ``words``."""

    vocab_size: int = Field(10_000, gt=4, description="Rows of the table, unknown, begin and end included.")
    lowercase: bool = Field(True, description="Ignore case.")
    max_length: int | None = Field(None, gt=0, description="Keep only the first words of a text.")


class CharactersConfig(Config):
    """Settings of ``characters``."""

    max_size: int = Field(512, gt=3, description="Most ids, unknown, begin and end included.")
    lowercase: bool = Field(False, description="Ignore case.")
    max_length: int | None = Field(None, gt=0, description="Keep only the first characters of a text.")


class BpeConfig(Config):
    """Settings of ``bpe``."""

    vocab_size: int = Field(4000, gt=258, description="Most ids, begin and end included.")
    lowercase: bool = Field(False, description="Ignore case.")
    min_frequency: int = Field(2, gt=0, description="Pairs seen less often are not merged.")
    max_length: int | None = Field(None, gt=0, description="Keep only the first ids of a text.")


class TokenizerConfig(Config):
    """Settings of ``tokenizer``; exactly one of ``path`` and ``hub`` is given."""

    path: LocalPath | None = Field(None, description="A tokenizer.json, or a folder in the hub's form.")
    hub: str | None = Field(None, description="Name on the model hub, fetched by transformers.")
    max_length: int | None = Field(None, gt=0, description="Keep only the first ids of a text.")
    begin: str | None = Field(None, description="Token that begins a text; default: as the tokenizer's files say.")
    end: str | None = Field(None, description="Token that ends a text; default: as the tokenizer's files say.")

    @model_validator(mode="after")
    def _consistent(self) -> "TokenizerConfig":
        if (self.path is None) == (self.hub is None):
            raise ValueError("give exactly one of path and hub")
        return self


class LstmConfig(Config):
    """Settings of ``lstm``."""

    embedding_dim: int = Field(128, gt=0, description="Width of the tokens.")
    hidden_dim: int = Field(128, gt=0, description="Width of each direction's state.")
    layers: int = Field(1, gt=0, description="Stacked layers.")
    bidirectional: bool = Field(False, description="Read in both directions.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout between layers.")
