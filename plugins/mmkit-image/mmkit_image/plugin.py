"""What this plugin offers. Imports no torch."""

from mmkit import Component, ReportSection, hookimpl


def _encoder(name: str, module: str, config: str, summary: str) -> Component:
    return Component(
        kind="encoder",
        name=name,
        summary=summary,
        builder=f"mmkit_image.{module}:build",
        config=f"mmkit_image.config:{config}",
        modality="image",
        cases=f"mmkit_image.conformance:{name.replace('-', '_')}",
    )


@hookimpl
def mmkit_components() -> list[Component]:
    """Encoders of images, and how pictures are written."""
    return [
        _encoder(
            "timm",
            "timm_encoder",
            "TimmConfig",
            "Any timm model: tokens of its last map or of any stage, or one pooled row.",
        ),
        _encoder(
            "hf-vision", "hf_vision", "HfVisionConfig", "Any transformers vision tower (CLIP, SigLIP, DINOv2, ViT …)."
        ),
        _encoder("cnn", "cnn", "CnnConfig", "Small residual convolutional network, to learn from scratch."),
        Component(
            kind="continuous",
            name="image-patches",
            summary="A square picture as patches of its pixels, for heads that write vectors.",
            builder="mmkit_image.patches:build",
            config="mmkit_image.config:ImagePatchesConfig",
            modality="image",
            cases="mmkit_image.conformance:image_patches",
        ),
    ]


@hookimpl
def mmkit_report_sections() -> list[ReportSection]:
    """What the model saw."""
    return [ReportSection("pictures", "Pictures", "mmkit_image.report:pictures")]
