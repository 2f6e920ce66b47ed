"""Any vision tower of transformers (CLIP, SigLIP, DINOv2, ViT …) as an encoder."""

import inspect
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig

from mmkit import BuildContext, PluginError
from mmkit_image.empty import build_anyway
from mmkit_image.encoder import ImageEncoder
from mmkit_image.hf_files import load_config, load_model, preprocessor_settings
from mmkit_image.processor import ImageProcessor


class HfVision(ImageEncoder):
    """A transformers vision model.

    Args:
        model: gives ``last_hidden_state`` and, for pooled features, ``pooler_output``.
        layer: -1 is ``last_hidden_state``; any other an index into ``hidden_states``.
        class_token: the first prefix token stays; others (registers) never do.

    Raises:
        PluginError: the model has no class token or no such layer.
    """

    def __init__(
        self,
        model: nn.Module,
        processor: ImageProcessor,
        features: Literal["tokens", "pooled"] = "tokens",
        class_token: bool = False,
        layer: int = -1,
    ) -> None:
        super().__init__(processor)
        self.model: Any = model
        self.features, self.class_token, self.layer = features, class_token, layer
        config: Any = self.model.config
        depth = getattr(config, "num_hidden_layers", None)
        if depth is not None and not -depth - 1 <= layer <= depth:
            raise PluginError(
                f"layer {layer}: {config.model_type!r} has {depth} layers; allowed: {-depth - 1} to {depth}"
            )
        self.patches = _patches(config, processor.image_size)
        self.options: dict[str, Any] = {"output_hidden_states": True} if layer != -1 else {}
        if processor.image_size != side(config) and _interpolates(model):
            self.options["interpolate_pos_encoding"] = True
        self.measure()

    def rows(self, pixels: Float[Tensor, "items channels side side"]) -> Float[Tensor, "items rows dim"]:
        """Patches, or one pooled row (their mean where the model pools nothing)."""
        output = self.model(pixel_values=pixels, **self.options)
        if self.features == "pooled" and getattr(output, "pooler_output", None) is not None:
            return output.pooler_output.flatten(1)[:, None]
        hidden = output.last_hidden_state if self.layer == -1 else output.hidden_states[self.layer]
        if hidden.ndim == 4:
            hidden = hidden.flatten(2).transpose(1, 2)
        prefix = max(0, hidden.shape[1] - self.patches) if self.patches else 0
        if self.features == "pooled":
            return hidden[:, prefix:].mean(1, keepdim=True)
        patches = hidden[:, prefix:]
        if not self.class_token:
            return patches
        if not prefix:
            kind = self.model.config.model_type
            raise PluginError(f"class_token: true, but the model {kind!r} has none; leave the option out")
        return torch.cat([hidden[:, :1], patches], dim=1)

    def save_assets(self, folder: Path) -> None:
        """Write the architecture and the processor's settings."""
        self.model.config.save_pretrained(folder)
        self.prepared.save(folder)


def side(config: PreTrainedConfig) -> int:
    """The side of the pictures a model was made for; 224 where its config has none."""
    size = getattr(config, "image_size", None) or 224
    return int(size if isinstance(size, int) else size[0])


def _patches(config: PreTrainedConfig, image_size: int) -> int:
    """How many patches a picture has; 0 where the model has no patches of one size, or merges them."""
    patch = getattr(config, "patch_size", None)
    if patch is None or getattr(config, "depths", None):
        return 0
    return int((image_size // (patch if isinstance(patch, int) else patch[0])) ** 2)


def _drop_pooling(model: Any) -> None:
    """Remove the layers that only make the pooled row, where the model can do without."""
    if "add_pooling_layer" in inspect.signature(type(model).__init__).parameters:
        model.pooler = None
    if getattr(model, "use_head", False):  # SigLIP
        model.use_head, model.head = False, None


def _interpolates(model: nn.Module) -> bool:
    return "interpolate_pos_encoding" in inspect.signature(model.forward).parameters


def build(
    context: BuildContext,
    *,
    max_megapixels: float,
    path: Path | None,
    hub: str | None,
    config: dict[str, Any] | None,
    features: Literal["tokens", "pooled"],
    class_token: bool,
    layer: int,
    image_size: int | None,
    resize: Literal["squash", "crop", "pad"] | None,
    interpolation: Literal["bicubic", "bilinear"] | None,
    fast_decode: bool,
    mean: list[float] | None,
    std: list[float] | None,
) -> HfVision:
    """The architecture of a folder, the hub or a config; weights of the first two."""
    source = path if path is not None else hub
    made = load_config(context.assets or source, config)
    if source is not None and context.load_weights:
        model = load_model(source, made, pooled=features == "pooled")
    else:
        model = build_anyway(lambda: AutoModel.from_config(made))
    if features == "tokens":
        _drop_pooling(model)
    if context.assets is not None:
        processor = ImageProcessor.load(context.assets)
    else:
        said = preprocessor_settings(source)
        processor = ImageProcessor(
            image_size or said.get("image_size") or side(made),
            tuple(mean or said.get("mean") or (0.5,) * 3),
            tuple(std or said.get("std") or (0.5,) * 3),
            resize or said.get("resize") or "squash",
            said.get("crop_pct", 1.0),
            interpolation or said.get("interpolation") or "bicubic",
            max_megapixels=max_megapixels,
            fast_decode=fast_decode,
        )
    return HfVision(model, processor, features, class_token, layer)
