"""Settings of the metric. Imports no torch."""

from typing import Literal

from pydantic import Field, model_validator

from mmkit import Config
from mmkit_audio.config import Rate


class MelDistanceConfig(Config):
    """Settings of ``mel-distance``."""

    sample_rate: Rate = Field(16_000, description="Samples a second at which sounds are compared.")
    n_mels: int = Field(80, ge=2, le=256, description="Mel bands.")
    window_ms: float = Field(25.0, ge=2, le=200, description="Length of a window, milliseconds.")
    hop_ms: float = Field(10.0, ge=1, le=100, description="Step between windows, milliseconds.")
    coefficients: int = Field(13, ge=1, le=255, description="Cepstral coefficients of `mcd`, the first after loudness.")
    align: Literal["dtw", "cut"] = Field(
        "dtw", description="dtw: frames are paired by dynamic time warping; cut: in order, the longer sound is cut."
    )

    @model_validator(mode="after")
    def _enough_bands(self) -> "MelDistanceConfig":
        if self.coefficients >= self.n_mels:
            raise ValueError(f"coefficients must be fewer than n_mels, got {self.coefficients} of {self.n_mels} bands")
        return self
