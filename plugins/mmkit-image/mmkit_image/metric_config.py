"""Settings of the metrics. Imports no torch."""

from pydantic import Field, model_validator

from mmkit import Config, LocalPath


class ImageQualityConfig(Config):
    """``image-quality`` has no settings."""


class FrechetConfig(Config):
    """Settings of ``frechet-distance``; the encoder is exactly one of ``model``, ``path`` and ``timm``."""

    model: LocalPath | None = Field(None, description="Folder of a model saved by mmkit.")
    node: str = Field("image.encoder", description="Encoder of that model.")
    path: LocalPath | None = Field(None, description="Vision tower of transformers: a folder in the hub's form.")
    timm: str | None = Field(None, description="Name of an architecture in timm, whose weights are in `weights`.")
    weights: LocalPath | None = Field(None, description="File of weights for `timm`.")
    batch_size: int = Field(32, gt=0, description="Pictures that are encoded at once.")

    @model_validator(mode="after")
    def _one_encoder(self) -> "FrechetConfig":
        if sum(source is not None for source in (self.model, self.path, self.timm)) != 1:
            raise ValueError(
                "give exactly one of model (a saved model), path (a folder) and timm (a name with weights)"
            )
        if (self.timm is None) != (self.weights is None):
            raise ValueError("timm and weights go together: the name of the architecture, and the file of its weights")
        return self
