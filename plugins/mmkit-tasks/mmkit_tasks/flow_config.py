"""Settings of ``flow``. Imports no torch."""

from typing import Literal

from pydantic import Field, model_validator

from mmkit import Config
from mmkit_tasks.config import PoolName


class FlowConfig(Config):
    """Settings of ``flow``."""

    dim: int = Field(256, gt=1, description="Width of the network that predicts the velocity.")
    layers: int = Field(6, gt=0, description="Its Transformer layers.")
    heads: int = Field(4, gt=0, description="Its attention heads.")
    pool: PoolName = Field(
        "mean", description="How the rows that it reads become the one vector that steers all layers."
    )
    attend: bool = Field(False, description="Let every layer attend to all rows that it reads as well.")
    condition_dropout: float = Field(
        0.1, ge=0, lt=1, description="Share of the samples that are learnt without what it reads, which guidance needs."
    )
    times: Literal["uniform", "logit-normal"] = Field(
        "logit-normal",
        description="How times between noise and data are drawn in training; logit-normal: more in the middle.",
    )
    steps: int = Field(20, gt=0, description="Steps from noise to a value.")
    solver: Literal["euler", "midpoint", "heun"] = Field(
        "midpoint", description="How a step is made; midpoint and heun ask the network twice and need fewer steps."
    )
    guidance: float = Field(
        2.0, ge=0, description="1: as learnt; above: nearer to what is asked for and less varied; 0: whatever is read."
    )
    seed: int = Field(
        0, description="Seed of the noise. One seed and one prompt give one value, alone or in any batch."
    )

    @model_validator(mode="after")
    def _fits(self) -> "FlowConfig":
        if self.dim % self.heads:
            raise ValueError(f"dim = {self.dim} is not divisible by heads = {self.heads}")
        if self.guidance != 1 and not self.condition_dropout:
            raise ValueError(
                "guidance other than 1 needs condition_dropout above 0: it compares with an answer to nothing"
            )
        return self
