"""Every component of this plugin is held to mmkit's conformance kit."""

from mmkit.testing import Conformance


class TestConformance(Conformance):
    plugin = "text"
