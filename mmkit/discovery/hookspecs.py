"""The hooks a plugin may implement."""

from collections.abc import Sequence

import pluggy

from mmkit.registry.component import Component

hookspec = pluggy.HookspecMarker("mmkit")
hookimpl = pluggy.HookimplMarker("mmkit")
"""Marks a plugin's ``mmkit_components`` function."""


@hookspec
def mmkit_components() -> Sequence[Component]:
    """The components this plugin offers."""
    return ()
