"""The conformance kit: what every component of a plugin is held to. ``Case``, ``Conformance`` for pytest, ``conform``."""

from mmkit.testing.case import Case
from mmkit.testing.suite import Conformance

__all__ = ["Case", "Conformance"]
