"""Folders in the hub's form: a text encoder's architecture and weights."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils.hub import cached_file

from mmkit import PluginError
from mmkit_text.texts import nearest
from mmkit_text.tokenizer_files import first_line


def load_config(source: Path | str | None, config: dict[str, Any] | None) -> PreTrainedConfig:
    """An architecture, from a folder, a hub name, or a mapping.

    Raises:
        PluginError: there is none, or the mapping has a key that the architecture does not.
    """
    made: PreTrainedConfig
    if source is None:
        made = _from_mapping(config or {})
    else:
        if isinstance(source, Path) and not (source / "config.json").is_file():
            raise PluginError(f"{str(source)!r} has no config.json; wanted a folder in the hub's form")
        try:
            made = AutoConfig.from_pretrained(source, trust_remote_code=False)
        except Exception as error:
            raise PluginError(f"the config of {str(source)!r} cannot be read ({first_line(error)})") from None
    if type(made) not in AutoModel._model_mapping or not hasattr(made, "hidden_size"):
        raise PluginError(f"transformers has no text encoder for {made.model_type!r}; for example bert or mpnet")
    if hasattr(made, "use_cache"):
        made.use_cache = False
    return made


def _from_mapping(config: dict[str, Any]) -> PreTrainedConfig:
    kind = str(config.get("model_type"))
    if kind not in CONFIG_MAPPING:
        raise PluginError(
            f"config.model_type {kind!r} is unknown to transformers; {nearest(kind, [str(k) for k in CONFIG_MAPPING])}"
        )
    allowed = sorted({*CONFIG_MAPPING[kind]().to_dict(), *CONFIG_MAPPING[kind].attribute_map, "model_type"})
    for key in config:
        if key not in allowed:
            raise PluginError(f"config.{key}: the architecture {kind!r} has no such setting; {nearest(key, allowed)}")
    try:
        return AutoConfig.for_model(**config)
    except Exception as error:
        raise PluginError(f"config of {kind!r} is refused by transformers ({first_line(error)})") from None


def empty_model(config: PreTrainedConfig) -> nn.Module:
    """The encoder with fresh weights."""
    return _encoder(AutoModel.from_config(config), config)


def load_model(source: Path | str, config: PreTrainedConfig) -> nn.Module:
    """The encoder with its weights, float32, read from safetensors only.

    Raises:
        PluginError: the weights cannot be read, or some are missing.
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
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(("pooler.", "decoder.")))
    if missing:
        raise PluginError(
            f"the weights of {str(source)!r} do not fit {config.model_type!r}: {len(missing)} of "
            f"{len(model.state_dict())} keys missing (first: {missing[0]!r}), {len(report['unexpected_keys'])} unexpected"
        )
    return _encoder(model, config)


def _encoder(model: Any, config: PreTrainedConfig) -> nn.Module:
    """The part that reads text, without the pooling layer that nothing here reads."""
    part: Any = model.get_encoder() if getattr(config, "is_encoder_decoder", False) else model
    if isinstance(getattr(part, "pooler", None), nn.Module):
        part.pooler = None
    assert isinstance(part, nn.Module)
    return part


def model_max_length(source: Path | str | None) -> int | None:
    """``max_seq_length`` of a sentence-transformers folder, else ``model_max_length`` of its tokenizer."""
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        said = _json(source, name).get(key)
        if isinstance(said, int) and 0 < said < 1_000_000:  # transformers writes 10^30 for "unknown"
            return said
    return None


def _json(source: Path | str | None, name: str) -> dict[str, Any]:
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
