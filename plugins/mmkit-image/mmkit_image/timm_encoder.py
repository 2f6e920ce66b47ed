"""Any image model of timm (Wightman 2019) as an encoder."""

import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmkit import BuildContext, PluginError
from mmkit_image.empty import build_anyway
from mmkit_image.encoder import ImageEncoder
from mmkit_image.processor import ImageProcessor
from mmkit_image.weights import by_name, in_order, read_weights


class TimmEncoder(ImageEncoder):
    """A timm model without its classifier.

    Args:
        model: made with ``timm.create_model``, without classifier.
        class_token: the first of the prefix tokens stays; others (registers, distillation) never do.
        out_index: stage or block to read; the later ones are removed from the model.
        freeze_norm: batch normalisation layers stay in eval mode.

    Raises:
        PluginError: the model has no class token, no such stage, or no map that could be read.
    """

    def __init__(
        self,
        model: nn.Module,
        processor: ImageProcessor,
        features: Literal["tokens", "pooled"] = "tokens",
        class_token: bool = False,
        out_index: int | None = None,
        freeze_norm: bool = False,
    ) -> None:
        super().__init__(processor)
        self.model: Any = model
        self.features, self.class_token, self.freeze_norm = features, class_token, freeze_norm
        classed = getattr(model, "cls_token", None) is not None
        self.prefix = int(getattr(model, "num_prefix_tokens", classed))
        if class_token and not (self.prefix and classed):
            raise PluginError(f"class_token: true, but the timm model {_name(model)!r} has none; leave the option out")
        self.out_index = None if out_index is None else _prune(model, out_index)
        self.measure()
        self.train(self.training)

    def rows(self, pixels: Float[Tensor, "items channels side side"]) -> Float[Tensor, "items rows dim"]:
        """Places of the map or tokens, or one pooled row."""
        if self.out_index is not None:
            maps = self.model.forward_intermediates(
                pixels, indices=[self.out_index], intermediates_only=True, output_fmt="NCHW"
            )
            rows = maps[0].flatten(2).transpose(1, 2)
            return rows.mean(1, keepdim=True) if self.features == "pooled" else rows
        last = self.model.forward_features(pixels)
        if self.features == "pooled":
            return self.model.forward_head(last, pre_logits=True)[:, None]
        return self._tokens(last)

    def _tokens(self, last: Any) -> Tensor:
        if not isinstance(last, Tensor) or last.ndim not in (3, 4):
            raise PluginError(
                f"the timm model {_name(self.model)!r} gives no single map of places; use features: pooled, or out_index"
            )
        if last.ndim == 3:
            patches = last[:, self.prefix :]
            return torch.cat([last[:, :1], patches], dim=1) if self.class_token else patches
        if getattr(self.model, "output_fmt", "NCHW") == "NHWC":
            return last.flatten(1, 2)
        return last.flatten(2).transpose(1, 2)

    def train(self, mode: bool = True) -> "TimmEncoder":
        """As ever, but the running statistics of frozen normalisation layers stay."""
        super().train(mode)
        if self.freeze_norm:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def save_assets(self, folder: Path) -> None:
        """Write the processor's settings, which another version of timm may know otherwise."""
        self.prepared.save(folder)


def _name(model: nn.Module) -> str:
    return str(getattr(model, "pretrained_cfg", {}).get("architecture", type(model).__name__))


def _prune(model: Any, index: int) -> int:
    """Remove what comes after a stage; the stage counted from the front."""
    if not hasattr(model, "prune_intermediate_layers"):
        raise PluginError(f"the timm model {_name(model)!r} has no stages to choose from; leave out_index out")
    stages = len(model.feature_info)
    if not -stages <= index < stages:
        raise PluginError(
            f"out_index {index}: the timm model {_name(model)!r} has {stages} stages; allowed: {-stages} to {stages - 1}"
        )
    index %= stages
    model.prune_intermediate_layers([index], prune_norm=True, prune_head=True)
    return index


def create(model: str, image_size: int | None, pretrained: bool = False) -> Any:
    """A timm model with its own classifier, made for this side.

    Raises:
        PluginError: no such name, or its weights cannot be fetched.
    """
    if ":" in model or not timm.is_model(model):
        close = get_close_matches(model, timm.list_models(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else "timm.list_models() names all"
        raise PluginError(f"timm {timm.__version__} has no model {model!r}; {hint}")
    known = timm.get_pretrained_cfg(model)
    fixed = known is not None and known.fixed_input_size and image_size not in (None, known.input_size[-1])
    options: dict[str, Any] = {"img_size": image_size} if fixed else {}
    try:
        return build_anyway(lambda: timm.create_model(model, pretrained=pretrained, **options))
    except Exception as error:
        if not pretrained:
            raise
        raise PluginError(
            f"timm's weights of {model!r} cannot be fetched ({type(error).__name__}: {str(error).splitlines()[0]}); "
            "without the model hub, name a local file: weights: FILE"
        ) from None


def load_into(model: Any, path: Path, match: Literal["name", "order"]) -> None:
    """Fill a timm model from a file; its classifier is left as it is.

    Raises:
        PluginError: the file cannot be read or does not fit.
    """
    where = f"weights {str(path)!r} do not fit the timm model {_name(model)!r}"
    found, wanted = read_weights(path), model.state_dict()
    heads = model.pretrained_cfg.get("classifier") or ()
    classifier = (heads,) if isinstance(heads, str) else tuple(heads)
    if match == "order":
        if path.suffix == ".safetensors":
            raise PluginError(f"{where}: safetensors files are sorted by name and keep no order; use match: name")
        try:
            placed = in_order(found, wanted, classifier)
        except ValueError as error:
            raise PluginError(f"{where} by order: {error}") from None
    else:
        try:
            placed = by_name(_filtered(model, found, wanted), wanted, classifier)
        except ValueError as error:
            raise PluginError(f"{where}: {error}; {_advice(found, wanted, classifier, path)}") from None
    model.load_state_dict(placed, strict=False)


def _filtered(model: Any, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state after timm's own conversion for this architecture (names of the original release, other picture sizes)."""
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is None or all(name in found and found[name].shape == t.shape for name, t in wanted.items()):
        return found
    try:
        return dict(convert(dict(found), model))
    except Exception:
        return found


def _advice(found: dict[str, Tensor], wanted: dict[str, Tensor], classifier: tuple[str, ...], path: Path) -> str:
    if path.suffix != ".safetensors":
        try:
            in_order(found, wanted, classifier)
            return "its order and shapes fit: set match: order"
        except ValueError:
            pass
    return "name the architecture that the file was made for"


def build(
    context: BuildContext,
    *,
    max_megapixels: float,
    model: str,
    weights: Path | None,
    match: Literal["name", "order"],
    pretrained: bool,
    image_size: int | None,
    features: Literal["tokens", "pooled"],
    class_token: bool,
    out_index: int | None,
    freeze_norm: bool,
    resize: Literal["squash", "crop", "pad"],
    crop_pct: float,
    fast_decode: bool,
    mean: list[float] | None,
    std: list[float] | None,
) -> TimmEncoder:
    """The architecture of this name, with weights where the spec names some."""
    made = create(model, image_size, pretrained and context.load_weights)
    if weights is not None and context.load_weights:
        load_into(made, weights, match)
    made.reset_classifier(0)
    if context.assets is not None:
        processor = ImageProcessor.load(context.assets)
    else:
        known = made.pretrained_cfg
        processor = ImageProcessor(
            image_size or int(known["input_size"][-1]),
            tuple(mean or known["mean"]),
            tuple(std or known["std"]),
            resize,
            crop_pct,
            "bilinear" if known.get("interpolation") == "bilinear" else "bicubic",
            max_megapixels=max_megapixels,
            fast_decode=fast_decode,
        )
    frozen = freeze_norm and (weights is not None or pretrained)
    return TimmEncoder(made, processor, features, class_token, out_index, frozen)
