"""Picture tokenizers of transformers: which can draw, and their part of a folder or hub name. No pickle is read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import Emu3VQVAE, JanusVQVAE, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils.hub import cached_file

from mmkit import PluginError
from mmkit_image.hf_files import first_line
from mmkit_image.weights import by_name

MODELS: Mapping[str, type[PreTrainedModel]] = {"emu3_vqgan": Emu3VQVAE, "janus_vqgan": JanusVQVAE}
SILENT = {"chameleon_vqgan": "ChameleonVQVAE"}
"""Tokenizers that transformers (5.17 to 5.23) has no decoder for."""
_PART = "vqmodel."
_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"


def tokenizer_config(source: Path | str) -> PreTrainedConfig:
    """The config of a picture tokenizer, from its own or from that of the model that it is a part of.

    Raises:
        PluginError: there is none, or its tokenizer cannot draw.
    """
    path = _file(source, "config.json")
    if path is None:
        raise PluginError(f"{str(source)!r} has no config.json; wanted is a picture tokenizer in the hub's form")
    said = _json(path)
    fields = said.get("vq_config", said)
    kind = str(fields.get("model_type") or f"{said.get('model_type')}_vqgan")
    if kind in SILENT:
        raise PluginError(
            f"{str(source)!r}: transformers has no decoder for {kind!r} ({SILENT[kind]} only encodes), and a codec draws "
            f"too; with a decoder: {', '.join(MODELS)}"
        )
    if kind not in MODELS:
        shown = said.get("model_type")
        raise PluginError(f"{str(source)!r}: {shown!r} is no picture tokenizer; known are {', '.join(MODELS)}")
    try:
        config: PreTrainedConfig = CONFIG_MAPPING[kind](**{k: v for k, v in fields.items() if k != "model_type"})
    except Exception as error:
        raise PluginError(f"{str(source)!r}: its config is refused by transformers ({first_line(error)})") from None
    return config


def tokenizer_weights(source: Path | str) -> dict[str, Tensor]:
    """The tokenizer's tensors, float32; of a larger model, only the files that hold them are fetched and only they are read.

    Raises:
        PluginError: there are none, or a file cannot be read.
    """
    index = _file(source, _INDEX)
    if index is not None:
        places: dict[str, str] = dict(_json(index).get("weight_map") or {})
        files = sorted({name for key, name in places.items() if _PART in key} or set(places.values()))
    else:
        files = [_SINGLE]
    found: dict[str, Tensor] = {}
    for name in files:
        path = _file(source, name)
        if path is None:
            raise PluginError(f"{str(source)!r} has no {name}; only safetensors files are read")
        found.update(_tensors(path))
    inner = {key.partition(_PART)[2]: tensor for key, tensor in found.items() if _PART in key}
    return inner or found


def tokenizer(config: PreTrainedConfig, tensors: Mapping[str, Tensor], where: str) -> PreTrainedModel:
    """The frozen model, on the CPU.

    Raises:
        PluginError: the tensors are not those of the config.
    """
    with torch.device("meta"):  # no memory, and no random number drawn
        model = MODELS[config.model_type](config)
    try:
        placed = by_name(tensors, model.state_dict(), ())
    except ValueError as error:
        raise PluginError(f"the weights of {where} do not fit {config.model_type!r}: {error}") from None
    model.load_state_dict(placed, strict=False, assign=True)
    model.eval().requires_grad_(False)
    return model


def _file(source: Path | str, name: str) -> Path | None:
    """A file of a folder, or fetched from the hub; None where there is none."""
    if isinstance(source, Path):
        return source / name if (source / name).is_file() else None
    try:
        found = cached_file(source, name, _raise_exceptions_for_missing_entries=False)
    except Exception as error:
        raise PluginError(f"{name} of {source!r} cannot be fetched from the hub ({first_line(error)})") from None
    return Path(found) if found else None


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise PluginError(f"{str(path)!r} is no JSON object ({first_line(error)})") from None


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            wanted = [name for name in names if _PART in name] or names
            read = {name: file.get_tensor(name) for name in wanted}
    except Exception as error:
        raise PluginError(f"{str(path)!r} is not a readable safetensors file ({first_line(error)})") from None
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in read.items()}
