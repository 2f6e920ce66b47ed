"""What this plugin offers. Imports no torch."""

from mmkit import Component, hookimpl


@hookimpl
def mmkit_components() -> list[Component]:
    """Task heads."""
    return [
        Component(
            kind="head",
            name="classify",
            summary="One of a list of labels; one sigmoid or a softmax.",
            builder="mmkit_tasks.classify:build",
            config="mmkit_tasks.config:ClassifyConfig",
        ),
    ]
