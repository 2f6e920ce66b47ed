"""Settings of the adapters. Imports no torch."""

from typing import Literal

from pydantic import Field, model_validator

from mmkit import Config


class PositionsConfig(Config):
    """Settings shared by the adapters that can add positions."""

    positions: Literal["none", "sinusoidal", "learned", "sinusoidal_2d", "learned_2d"] = Field(
        "none", description="Positions added to an item's tokens, along one axis or over a grid read row by row."
    )
    max_positions: int = Field(1024, gt=0, description="Rows of the table of learned positions (2-D: of each axis).")
    grid: tuple[int, int] | None = Field(
        None, description="Rows and columns of the grid of 2-D positions; without it items must be square."
    )

    @model_validator(mode="after")
    def _grid(self) -> "PositionsConfig":
        if self.grid is not None and not self.positions.endswith("_2d"):
            raise ValueError(f"grid needs 2-D positions, got positions: {self.positions}")
        if self.grid is not None and min(self.grid) < 1:
            raise ValueError(f"grid is [rows, columns], at least 1 each, got {list(self.grid)}")
        return self


class LinearConfig(PositionsConfig):
    """Settings of ``linear``."""

    bias: bool = Field(True, description="Whether the layer has a bias.")


class MlpConfig(PositionsConfig):
    """Settings of ``mlp``."""

    hidden: int | None = Field(None, gt=0, description="Width between the layers; default: the width of the tokens.")
    layers: int = Field(2, gt=0, description="Linear layers; GELU between them.")
    norm: bool = Field(False, description="Layer normalisation of the features first.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout between the layers.")


class StackConfig(Config):
    """Settings of ``stack``."""

    factor: int = Field(4, gt=0, description="Neighbouring rows that become one token.")
    hidden: int | None = Field(None, gt=0, description="Width of a hidden layer with GELU; default: one linear layer.")
    norm: bool = Field(False, description="Layer normalisation of the joined rows first.")


class ResamplerConfig(Config):
    """Settings of ``resampler``."""

    tokens: int = Field(64, gt=0, description="Learned queries, and tokens of every item.")
    dim: int | None = Field(None, gt=0, description="Width inside; default: the width of the tokens.")
    layers: int = Field(2, gt=0, description="Layers of cross-attention and feed-forward.")
    heads: int = Field(8, gt=0, description="Attention heads.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout in the feed-forward networks.")
    positions: bool = Field(True, description="Add sinusoidal positions to the rows, so that their order matters.")


class PoolConfig(Config):
    """Settings of ``pool``."""

    how: Literal["mean", "max", "first", "last", "attention"] = Field("mean", description="How rows become one token.")
