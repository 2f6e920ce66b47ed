"""The base of every part of a spec."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Base of the spec's own parts."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)
