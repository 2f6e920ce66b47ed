"""Folders in the hub's form: an audio encoder's architecture, weights, and how sound is prepared."""

import json
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, WhisperConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.utils.hub import cached_file

from mmkit import PluginError

KINDS = ("whisper", "wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat")
_UNUSED = ("decoder.", "masked_spec_embed")


def load_config(source: Path | str | None, config: dict[str, Any] | None) -> PreTrainedConfig:
    """An audio encoder's architecture."""
    return read_config(source, config, KINDS, "audio encoder", "hf-audio")


def read_config(
    source: Path | str | None, config: dict[str, Any] | None, kinds: Sequence[str], what: str, who: str
) -> PreTrainedConfig:
    """An architecture, from a folder, a hub name, or a mapping.

    Args:
        kinds: model types that may be. what: what they are, in words. who: the component that knows them.

    Raises:
        PluginError: there is none, it is of no such kind, or a key is unknown.
    """
    if source is None:
        made = _from_mapping(config or {}, kinds, what, who)
    elif isinstance(source, Path) and not (source / "config.json").is_file():
        raise PluginError(f"{str(source)!r} has no config.json; wanted a folder in the hub's form")
    else:
        try:
            made = AutoConfig.from_pretrained(source, trust_remote_code=False)
        except Exception as error:
            raise PluginError(f"the config of {str(source)!r} cannot be read ({_first_line(error)})") from None
    if made.model_type not in kinds:
        raise PluginError(f"{made.model_type!r} is no {what} that {who} knows; allowed: {', '.join(kinds)}")
    return made


def _from_mapping(config: dict[str, Any], kinds: Sequence[str], what: str, who: str) -> PreTrainedConfig:
    kind = str(config.get("model_type"))
    if kind not in kinds:
        raise PluginError(f"config.model_type {kind!r} is no {what} that {who} knows; {_nearest(kind, kinds)}")
    allowed = sorted({*CONFIG_MAPPING[kind]().to_dict(), *CONFIG_MAPPING[kind].attribute_map, "model_type"})
    for key in config:
        if key not in allowed:
            raise PluginError(f"config.{key}: the architecture {kind!r} has no such setting; {_nearest(key, allowed)}")
    try:
        return AutoConfig.for_model(**config)
    except Exception as error:
        raise PluginError(f"config of {kind!r} is refused by transformers ({_first_line(error)})") from None


def _nearest(got: str, allowed: Any) -> str:
    close = get_close_matches(got, allowed, n=1)
    return f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(allowed)}"


def empty_model(config: PreTrainedConfig) -> nn.Module:
    """The encoder with fresh weights."""
    if isinstance(config, WhisperConfig):
        return WhisperEncoder(config)
    model = AutoModel.from_config(config)
    assert isinstance(model, nn.Module)
    return model


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
        raise PluginError(f"the weights of {str(source)!r} cannot be read ({_first_line(error)})") from None
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(_UNUSED))
    if missing:
        raise PluginError(
            f"the weights of {str(source)!r} do not fit {config.model_type!r}: {len(missing)} of "
            f"{len(model.state_dict())} keys missing (first: {missing[0]!r}), {len(report['unexpected_keys'])} unexpected"
        )
    part = model.get_encoder() if config.model_type == "whisper" else model
    assert isinstance(part, nn.Module)
    return part


def preprocessor_settings(source: Path | str | None) -> dict[str, Any]:
    """The folder's ``preprocessor_config.json``; empty without that file."""
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
        raise PluginError(f"{str(path)!r} is no JSON object ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
