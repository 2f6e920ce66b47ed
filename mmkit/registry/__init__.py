"""What is installed: frozen component records and the immutable registry. Imports neither torch nor pydantic."""

from mmkit.registry.component import API_VERSION, KINDS, SUPPORTED_APIS, Component

__all__ = ["API_VERSION", "KINDS", "SUPPORTED_APIS", "Component"]
