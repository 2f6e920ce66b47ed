"""Options of the components. Imports no torch."""

from pydantic import Field

from mmkit import Config, LocalPath


class PatchesConfig(Config):
    """Options of ``signal-patches``."""

    patch: int = Field(8, gt=0, description="Samples a patch; the last one is filled up with zeros.")
    dim: int = Field(64, gt=0, description="Width of a feature row.")
    max_samples: int = Field(100_000, gt=0, description="Longest signal; longer ones are refused.")
    notes: LocalPath | None = Field(None, description="A file that is kept with the model.")


class HalveConfig(Config):
    """``halve`` has no options."""


class LevelsConfig(Config):
    """Options of ``levels``."""

    levels: int = Field(33, gt=1, description="Steps between the lowest and the highest value.")


class GruConfig(Config):
    """Options of ``one-gru``."""

    dim: int = Field(64, gt=0, description="Width of tokens and hidden states.")


class QuantilesConfig(Config):
    """Options of ``quantiles``."""

    quantiles: list[float] = Field([0.1, 0.5, 0.9], min_length=1, description="Quantiles, each between 0 and 1.")


class ContinueConfig(Config):
    """Options of ``continue``."""

    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target spread over all ids.")
    max_new_tokens: int = Field(8, gt=0, description="Most ids that are generated.")
    beams: int = Field(1, gt=0, description="Width of the beam search.")


class WavesConfig(Config):
    """Options of ``waves``."""

    count: int = Field(8, gt=0, description="Rows.")


class AnswersConfig(Config):
    """Options of ``answers``."""

    name: str = Field("answers", description="Name of the figure.")


class WatchConfig(Config):
    """Options of ``watch``."""

    file: str = Field("steps.txt", description="Name of the file.")
