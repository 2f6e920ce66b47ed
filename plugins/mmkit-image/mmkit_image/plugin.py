"""What this plugin offers. Imports no torch."""

from mmkit import Component, Importer, Renderer, ReportSection, hookimpl


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


def _metric(name: str, config: str, summary: str) -> Component:
    module = name.replace("-", "_")
    return Component(
        kind="metric",
        name=name,
        summary=summary,
        builder=f"mmkit_image.{module}:build",
        config=f"mmkit_image.metric_config:{config}",
        cases=f"mmkit_image.conformance:{module}",
    )


def _codec(name: str, module: str, config: str, summary: str) -> Component:
    return Component(
        kind="vocabulary",
        name=name,
        summary=summary,
        builder=f"mmkit_image.{module}:build",
        config=f"mmkit_image.config:{config}",
        modality="image",
        cases=f"mmkit_image.conformance:{name.replace('-', '_')}",
    )


@hookimpl
def mmkit_components() -> list[Component]:
    """Encoders of images, codecs (what a picture tokenizer is trained with, and trained ones as vocabularies), metrics."""
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
        _encoder(
            "fsq-image", "fsq_image", "FsqImageConfig", "Encoder of a picture tokenizer: a grid of quantised codes."
        ),
        Component(
            kind="head",
            name="rebuild-image",
            summary="The picture that the encoder read, again: decoder of a picture tokenizer.",
            builder="mmkit_image.rebuild_image:build",
            config="mmkit_image.config:RebuildImageConfig",
            cases="mmkit_image.conformance:rebuild_image",
        ),
        _codec(
            "hf-image-codes",
            "hf_codes",
            "HfImageCodesConfig",
            "Codes of a picture tokenizer of transformers: Emu3, Janus.",
        ),
        _codec("image-codes", "image_codes", "ImageCodesConfig", "Codes of a picture tokenizer that mmkit trained."),
        Component(
            kind="continuous",
            name="image-patches",
            summary="A square picture as patches of its pixels, for heads that write vectors.",
            builder="mmkit_image.patches:build",
            config="mmkit_image.config:ImagePatchesConfig",
            modality="image",
            cases="mmkit_image.conformance:image_patches",
        ),
        _metric("image-quality", "ImageQualityConfig", "PSNR and SSIM of predicted pictures against their references."),
        _metric("frechet-distance", "FrechetConfig", "How far the features of predicted pictures are from real ones'."),
    ]


@hookimpl
def mmkit_report_sections() -> list[ReportSection]:
    """What the model saw."""
    return [ReportSection("pictures", "Pictures", "mmkit_image.report:pictures")]


@hookimpl
def mmkit_renderers() -> list[Renderer]:
    """What the model drew."""
    made = "mmkit_image.render"
    drawn = "mmkit_image.attribution:draw"
    return [Renderer("image", f"{made}:takes", f"{made}:html", f"{made}:file", media="image/png", attribution=drawn)]


@hookimpl
def mmkit_importers() -> list[Importer]:
    """Models that see."""
    return [Importer("llava", "A vision tower, a projector, a language model (LLaVA-1.5).", "mmkit_image.llava:read")]
