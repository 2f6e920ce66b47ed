"""Settings of the components. Imports no torch."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mmkit import Config, LocalPath

Rate = Annotated[int, Field(ge=1000, le=192_000)]


class SoundConfig(Config):
    """What every encoder of sound lets one say about its input."""

    raw_rate: Rate | None = Field(
        None, description="Sample rate of bare arrays, which carry none; without it they are refused."
    )
    resample: bool = Field(True, description="Change other sample rates to the encoder's; false: refuse them.")
    max_seconds: float = Field(600.0, gt=0, description="Longest clip; longer ones are refused before decoding.")
    max_mebibytes: int = Field(256, gt=0, description="Largest clip once decoded to float32, all channels.")


class MelConfig(SoundConfig):
    """Settings of the log-mel front end."""

    sample_rate: Rate = Field(16_000, description="Samples a second that the encoder works at.")
    n_mels: int = Field(80, ge=1, le=256, description="Mel bands.")
    window_ms: float = Field(25.0, ge=2, le=200, description="Length of a window, milliseconds.")
    hop_ms: float = Field(10.0, ge=1, le=100, description="Step between windows, milliseconds.")


class LogMelConfig(MelConfig):
    """Settings of ``log-mel``."""

    features: Literal["tokens", "pooled"] = Field(
        "tokens", description="tokens: one row a window; pooled: mean and deviation over time, one row a clip."
    )


class ConformerConfig(MelConfig):
    """Settings of ``conformer``."""

    dim: int = Field(144, ge=8, description="Width of the model, a multiple of heads.")
    layers: int = Field(4, ge=1, description="Conformer blocks.")
    heads: int = Field(4, ge=1, description="Attention heads.")
    ffn_dim: int | None = Field(None, ge=1, description="Width of the feed-forward layers; default: 4 × dim.")
    kernel: int = Field(31, ge=3, description="Width of the depthwise convolution, odd.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout.")
    stride: Literal[1, 2, 4, 8] = Field(4, description="Windows a feature row, by convolutions of stride 2.")
    features: Literal["tokens", "pooled"] = Field("tokens", description="pooled: the mean over time, one row a clip.")
    positions: bool = Field(
        True, description="Add sinusoidal positions before the blocks, whose attention knows none of its own."
    )
    augment: list[Literal["mask", "shift"]] = Field(
        [],
        description="Changes while training: mask blanks bands of mels and spans of time (SpecAugment), "
        "shift moves the pitch by up to a tenth of the bands.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "ConformerConfig":
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is no multiple of heads {self.heads}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")
        return self


class HfAudioConfig(SoundConfig):
    """Settings of ``hf-audio``; exactly one of ``path``, ``hub`` and ``config`` is given."""

    path: LocalPath | None = Field(None, description="Folder in the hub's form: config.json and safetensors weights.")
    hub: str | None = Field(None, description="Name on the model hub, fetched by transformers.")
    config: dict[str, Any] | None = Field(
        None, description="Architecture with its model_type, as in a config.json; random weights."
    )
    sample_rate: Rate | None = Field(
        None, description="Rate of the weights; default: as preprocessor_config.json says, else 16000."
    )
    layer: int = Field(
        -1,
        description="Hidden state to read: -1 the model's output, -2 the state before its last layer, 0 the embeddings.",
    )
    window: float | None = Field(
        None,
        gt=0,
        le=30,
        description="Seconds; every clip is filled with silence to a multiple. Default: 30 for Whisper, as it was "
        "trained (smaller is faster and a little different), none for others.",
    )
    silence: Literal["drop", "keep"] = Field(
        "drop",
        description="keep: rows of the silence that fills a window up stay, as the decoder of Whisper was trained; drop: "
        "rows of the clip only.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "HfAudioConfig":
        if sum(source is not None for source in (self.path, self.hub, self.config)) != 1:
            raise ValueError("give exactly one of path (a folder), hub (a name) and config (an architecture)")
        if self.config is not None and not isinstance(self.config.get("model_type"), str):
            raise ValueError("config needs a model_type, for example whisper, wav2vec2 or hubert")
        if self.silence == "keep" and self.window is not None:
            raise ValueError("silence: keep keeps whole windows of 30 seconds: leave window out")
        return self


class MelFramesConfig(MelConfig):
    """Settings of ``mel-frames``."""

    max_seconds: float = Field(
        2.0, gt=0, le=60, description="Longest clip; longer ones are refused, and shorter ones are filled up to it."
    )
    stack: int = Field(1, ge=1, le=32, description="Frames a vector: more make fewer, wider vectors.")
    iterations: int = Field(32, ge=1, le=1000, description="Steps of Griffin-Lim, from a spectrogram to a sound.")
