"""Options of the encoder. Imports no torch."""

from pydantic import Field

from mmkit import Config


class EcgConfig(Config):
    """Options of ``ecg``."""

    rate: int = Field(128, gt=0, description="Samples a second of the recordings.")
    max_seconds: float = Field(60, gt=0, description="Longest recording; longer ones are refused.")
    dim: int = Field(64, gt=0, description="Width of a feature row.")
    layers: int = Field(5, gt=0, description="Convolutions; each halves the number of rows.")
