"""What this plugin offers. Imports no torch."""

from mmkit import Component, hookimpl


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
