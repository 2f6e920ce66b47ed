"""Configs of two components whose inner models have one name, as two plugins' may."""

from pydantic import BaseModel

from mmkit import Config


def _inner(field: str) -> type[BaseModel]:
    return type("Inner", (BaseModel,), {"__annotations__": {field: int}})


FirstInner, SecondInner = _inner("depth"), _inner("width")


class FirstConfig(Config):
    inner: FirstInner  # type: ignore[valid-type]


class SecondConfig(Config):
    inner: SecondInner  # type: ignore[valid-type]
