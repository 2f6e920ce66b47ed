"""Settings of the metrics. Imports no torch."""

from pydantic import Field

from mmkit import Config, LocalPath


class JudgedConfig(Config):
    """Settings of ``judged``."""

    model: LocalPath = Field(description="Folder of a saved model, the judge; it must not have seen what is judged.")
    task: str | None = Field(
        None, description="Task of the judge, one that gives a label or text; may be left out where it has one."
    )
    column: str | None = Field(
        None, description="Column of the judge's input that is the prediction; may be left out where it has one."
    )
    wanted: str | None = Field(
        None,
        description="Column of the rows with the label or text that the judge should find, such as the caption that a "
        "picture was drawn from; default: the output column.",
    )
    labels: dict[str, str | int] = Field(
        {}, description="What is wanted, and what the judge calls it, where that differs: `{a red boot: boot}`."
    )
    name: str = Field("judged", description="What the names of the figures begin with.", pattern=r"^\w+$")
    batch_size: int = Field(32, gt=0, description="Predictions that are judged at once.")


class CodebookUseConfig(Config):
    """``codebook-use`` has no settings."""
