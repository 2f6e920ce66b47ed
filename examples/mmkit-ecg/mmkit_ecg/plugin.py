"""What this plugin offers. Imports no torch."""

from mmkit import Component, Renderer, hookimpl


@hookimpl
def mmkit_components() -> list[Component]:
    """One encoder."""
    return [
        Component(
            kind="encoder",
            name="ecg",
            summary="One lead of an electrocardiogram through strided convolutions.",
            builder="mmkit_ecg.encoder:build",
            config="mmkit_ecg.config:EcgConfig",
            modality="ecg",
            cases="mmkit_ecg.cases:ecg",
        )
    ]


@hookimpl
def mmkit_renderers() -> list[Renderer]:
    """How recordings are drawn, and what in them made an answer."""
    made = "mmkit_ecg.drawing"
    return [Renderer("ecg", f"{made}:takes", f"{made}:html", f"{made}:file", attribution=f"{made}:attribution")]
