"""Settings of the codecs and of what trains them. Imports no torch."""

from math import prod
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mmkit import Config, LocalPath
from mmkit_audio.config import MelConfig, Rate, SoundConfig

Pattern = Annotated[
    Literal["flat", "delay"],
    Field(
        description="How codes lie in the stream: flat, an id a step; delay, all codebooks at once, each a frame later "
        "than the one before (MusicGen). The same with one codebook."
    ),
]
Iterations = Annotated[int, Field(ge=1, le=1000, description="Steps of Griffin-Lim, from a spectrogram to a sound.")]
LARGEST = 65_536


class ConvolutionsConfig(Config):
    """A network of convolutions along time."""

    dim: int = Field(192, ge=8, multiple_of=2, description="Width of the network, even.")
    layers: int = Field(4, ge=0, description="Blocks of convolutions at the rate of the rows.")
    kernel: int = Field(7, ge=3, description="Width of their depthwise convolutions, odd.")

    @model_validator(mode="after")
    def _odd(self) -> "ConvolutionsConfig":
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")
        return self


class FsqAudioConfig(MelConfig, ConvolutionsConfig):
    """Settings of ``fsq-audio``."""

    stride: int = Field(4, ge=1, le=16, description="Log-mel frames a row of codes.")
    levels: list[Annotated[int, Field(ge=2, le=256)]] = Field(
        [8, 5, 5, 5],
        min_length=1,
        max_length=16,
        description="Steps of each number of a row; their product is the number of codes.",
    )
    codebooks: int = Field(1, ge=1, le=8, description="Codebooks, a code each of every row.")
    split: Literal["residual", "group"] = Field(
        "residual",
        description="What codebooks after the first have: residual, the steps of the one before, which they divide further; "
        "group, numbers of their own, so that a row has more of them.",
    )

    @model_validator(mode="after")
    def _few_codes(self) -> "FsqAudioConfig":
        if prod(self.levels) > LARGEST:
            raise ValueError(f"levels {self.levels} make {prod(self.levels)} codes; at most {LARGEST} are allowed")
        return self


class RebuildMelConfig(ConvolutionsConfig):
    """Settings of ``rebuild-mel``. Those of the spectrogram are needed where the head does not read ``fsq-audio`` itself."""

    sample_rate: Rate | None = Field(None, description="As of fsq-audio; default: of the encoder that the head reads.")
    n_mels: int | None = Field(None, ge=1, le=256, description="As of fsq-audio; default: the encoder's.")
    window_ms: float | None = Field(None, ge=2, le=200, description="As of fsq-audio; default: the encoder's.")
    hop_ms: float | None = Field(None, ge=1, le=100, description="As of fsq-audio; default: the encoder's.")
    stride: int | None = Field(None, ge=1, le=16, description="As of fsq-audio; default: the encoder's.")
    loss: Literal["mse", "mae"] = Field("mse", description="Squared or absolute error of the log-mel frames.")
    iterations: Iterations = 32


class AudioCodesConfig(SoundConfig):
    """Settings of ``audio-codes``."""

    codec: LocalPath = Field(description="Folder of a saved model with fsq-audio and rebuild-mel.")
    task: str | None = Field(None, description="Its task with the head rebuild-mel, where it has several.")
    pattern: Pattern = "flat"
    iterations: Iterations = 64
    max_seconds: float = Field(
        30.0, gt=0, le=600, description="Longest clip; longer ones are refused, and longer ones are not generated."
    )


class HfAudioCodesConfig(SoundConfig):
    """Settings of ``hf-audio-codes``; exactly one of ``path``, ``hub`` and ``config`` is given."""

    path: LocalPath | None = Field(None, description="Folder in the hub's form: config.json and safetensors weights.")
    hub: str | None = Field(None, description="Name on the model hub, fetched by transformers.")
    config: dict[str, Any] | None = Field(
        None, description="Architecture with its model_type, as in a config.json; random weights, always the same."
    )
    codebooks: int | None = Field(None, ge=1, description="How many to use, coarse ones first; default: all.")
    pattern: Pattern = "flat"
    max_seconds: float = Field(
        30.0, gt=0, le=600, description="Longest clip; longer ones are refused, and longer ones are not generated."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "HfAudioCodesConfig":
        if sum(source is not None for source in (self.path, self.hub, self.config)) != 1:
            raise ValueError("give exactly one of path (a folder), hub (a name) and config (an architecture)")
        if self.config is not None and not isinstance(self.config.get("model_type"), str):
            raise ValueError("config needs a model_type: encodec, mimi or dac")
        return self
