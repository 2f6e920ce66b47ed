"""The conformance kit on every component: ``pytest`` in the folder of the installed plugin."""

from mmkit.testing import Conformance


class TestConformance(Conformance):
    """About thirty checks."""

    plugin = "mmkit-ecg"
