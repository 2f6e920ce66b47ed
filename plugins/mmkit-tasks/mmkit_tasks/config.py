"""Settings of the components. Imports no torch."""

from typing import Literal

from pydantic import Field, model_validator

from mmkit import Config


class ClassifyConfig(Config):
    """Settings of ``classify``."""

    labels: list[str | int] = Field(min_length=2, description="Every label that the data may have.")
    pool: Literal["mean", "max", "last", "first"] = Field("mean", description="How an item's rows become one.")
    binary: bool = Field(False, description="One sigmoid for two labels, instead of a softmax.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the last layer.")

    @model_validator(mode="after")
    def _two(self) -> "ClassifyConfig":
        if self.binary and len(self.labels) != 2:
            raise ValueError(f"binary needs two labels, got {len(self.labels)}")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a label is listed twice")
        return self
