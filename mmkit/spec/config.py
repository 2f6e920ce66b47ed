"""Base of every component's config. Imports no torch."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo


class Config(BaseModel):
    """A component's settings: frozen, unknown keys refused, every field documented with ``Field(description=…)``."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


def _resolve(path: Path, info: ValidationInfo) -> Path:
    root = (info.context or {}).get("root")
    path = path.expanduser()
    return path if path.is_absolute() or root is None else Path(root) / path


LocalPath = Annotated[Path, AfterValidator(_resolve)]
"""A file or folder; a relative path is taken from the folder of the spec."""
