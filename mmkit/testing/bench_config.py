"""Options of the kit's own components. Imports no torch."""

from pydantic import Field

from mmkit.spec.config import Config


class BenchConfig(Config):
    """The kit's own components have one option at most."""

    dim: int = Field(16, gt=0, description="Width of what it gives.")
