"""Folders in the hub's form: architecture, weights, and how pictures are prepared."""

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils.hub import cached_file

from mmkit import PluginError

_FILTERS = {2: "bilinear", 3: "bicubic"}
_UNPOOLED = ("pooler.", "head.", "post_layernorm.")


def load_config(source: Path | str | None, config: dict[str, Any] | None) -> PreTrainedConfig:
    """The vision part of an architecture, from a folder, a hub name, or a mapping.

    Raises:
        PluginError: there is none, or the mapping has a key that the architecture does not.
    """
    if source is None:
        return _vision_part(_from_mapping(config or {}))
    if isinstance(source, Path) and not (source / "config.json").is_file():
        raise PluginError(f"{str(source)!r} has no config.json; wanted a folder in the hub's form")
    try:
        return _vision_part(AutoConfig.from_pretrained(source, trust_remote_code=False))
    except PluginError:
        raise
    except Exception as error:
        raise PluginError(f"the config of {str(source)!r} cannot be read ({first_line(error)})") from None


def _from_mapping(config: dict[str, Any]) -> PreTrainedConfig:
    kind = str(config.get("model_type"))
    if kind not in CONFIG_MAPPING:
        raise PluginError(
            f"config.model_type {kind!r} is unknown to transformers; {_nearest(kind, list(CONFIG_MAPPING))}"
        )
    allowed = sorted({*CONFIG_MAPPING[kind]().to_dict(), "model_type"})
    for key in config:
        if key not in allowed:
            raise PluginError(f"config.{key}: the architecture {kind!r} has no such setting; {_nearest(key, allowed)}")
    try:
        return AutoConfig.for_model(**config)
    except Exception as error:
        raise PluginError(f"config of {kind!r} is refused by transformers ({first_line(error)})") from None


def _nearest(got: str, allowed: list[str]) -> str:
    close = get_close_matches(got, allowed, n=1)
    return f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(allowed)}"


def _vision_part(config: PreTrainedConfig) -> PreTrainedConfig:
    part = getattr(config, "vision_config", config)
    if type(part) not in AutoModel._model_mapping:
        raise PluginError(f"transformers has no vision model for {part.model_type!r}; for example dinov2 or vit")
    return part


def load_model(source: Path | str, config: PreTrainedConfig, pooled: bool) -> torch.nn.Module:
    """A model with its weights, float32, read from safetensors only.

    Raises:
        PluginError: the weights cannot be read, or some that the features need are missing.
    """
    try:
        model, report = AutoModel.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:
        raise PluginError(f"the weights of {str(source)!r} cannot be read ({first_line(error)})") from None
    missing = sorted(k for k in report["missing_keys"] if pooled or not k.startswith(_UNPOOLED))
    if missing:
        raise PluginError(
            f"the weights of {str(source)!r} do not fit {config.model_type!r}: {len(missing)} of "
            f"{len(model.state_dict())} keys missing (first: {missing[0]!r}), {len(report['unexpected_keys'])} unexpected"
        )
    return model


def first_line(error: Exception) -> str:
    """Kind and first line of what a library said."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def preprocessor_settings(source: Path | str | None) -> dict[str, Any]:
    """Fields of ``ImageProcessor`` that the folder's ``preprocessor_config.json`` fixes; none without that file."""
    said = _read(source)
    if not said:
        return {}
    fields: dict[str, Any] = {}
    size, crop = _edges(said.get("size")), _edges(said.get("crop_size"))
    cropped = bool(said.get("do_center_crop")) and crop is not None
    side = crop if cropped else size
    if side is not None:
        fields["image_size"] = side
    if cropped or "shortest_edge" in _mapping(said.get("size")):
        fields["resize"] = "crop"
    if cropped and crop and size and said.get("do_resize", True):
        fields["crop_pct"] = min(1.0, crop / size)
    if said.get("resample") in _FILTERS:
        fields["interpolation"] = _FILTERS[said["resample"]]
    normalised = said.get("do_normalize", True)
    mean, std = (said.get("image_mean"), said.get("image_std")) if normalised else ([0.0] * 3, [1.0] * 3)
    scale = 255 * said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 255.0
    if mean and std:
        fields["mean"] = [value / scale for value in mean]
        fields["std"] = [value / scale for value in std]
    return fields


def _read(source: Path | str | None) -> dict[str, Any]:
    name = "preprocessor_config.json"
    if isinstance(source, str):
        found = cached_file(source, name, _raise_exceptions_for_missing_entries=False)
        path = Path(found) if found else None
    else:
        path = source / name if source is not None else None
    if path is None or not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except ValueError as error:
        raise PluginError(f"{str(path)!r} is no JSON object ({first_line(error)})") from None


def _mapping(size: Any) -> dict[str, int]:
    return size if isinstance(size, dict) else {"height": size} if isinstance(size, int) else {}


def _edges(size: Any) -> int | None:
    edges = _mapping(size)
    return edges.get("shortest_edge") or edges.get("height")
