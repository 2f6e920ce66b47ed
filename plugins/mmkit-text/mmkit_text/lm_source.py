"""Where a transformers language model comes from: a folder, the hub, a GGUF file, or an architecture alone."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from mmkit import BuildContext, PluginError, SampleError


def load_lm(
    auto: Any,
    context: BuildContext,
    *,
    path: Path | None,
    hub: str | None,
    gguf: str | None,
    config: Mapping[str, Any] | None,
    dtype: str,
    attention: str,
) -> tuple[PreTrainedModel, bool]:
    """A model of ``auto`` (an ``AutoModelFor…``) with at least ``context.vocabulary_size`` rows in its table, and
    whether it can read packed rows.

    Rows that the model has already keep their values; new ones are drawn around their mean (Hewitt 2021). With
    ``context.assets`` or without ``context.load_weights`` the weights are fresh, and no weight file is read.

    Raises:
        PluginError: the source is missing, broken, incomplete, or of another kind of model.
    """
    source, file = (str(context.assets), None) if context.assets is not None else _source(path, hub, gguf)
    settings = _read(source, file) if config is None or context.assets is not None else _written(config)
    if type(settings) not in auto._model_mapping:
        raise PluginError(f"{settings.model_type!r} is not an architecture of {auto.__name__}")
    chosen, packs = _attention(auto._model_mapping[type(settings)], settings, attention)
    kind = getattr(torch, dtype)
    if context.assets is not None or config is not None or not context.load_weights:
        _set_rows(settings, context.vocabulary_size)
        lm = auto.from_config(settings, dtype=kind, attn_implementation=chosen)
        return lm, packs
    lm = _pretrained(auto, source, file, dtype=kind, attn_implementation=chosen)
    if table_of(lm).shape[0] < context.vocabulary_size:
        lm.resize_token_embeddings(context.vocabulary_size, mean_resizing=True)
    return lm, packs


def _source(path: Path | None, hub: str | None, gguf: str | None) -> tuple[str, str | None]:
    """What ``from_pretrained`` is given, and the GGUF file within it."""
    if gguf is not None:
        file = Path(gguf)
        if not file.is_file():
            raise PluginError(f"there is no GGUF file {file}; fix: correct the backbone's gguf")
        return str(file.parent), file.name
    if path is not None and not (path / "config.json").is_file():
        raise PluginError(
            f"{path} is not a model folder: it has no config.json; "
            "fix: give the folder that holds config.json and model.safetensors"
        )
    return str(path) if path is not None else (hub or ""), None


def _read(source: str, file: str | None) -> PreTrainedConfig:
    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=False, **({"gguf_file": file} if file else {}))
    except Exception as error:  # transformers raises many kinds
        raise PluginError(
            f"the architecture of {_name(source, file)} cannot be read: {type(error).__name__}: {error}"
        ) from error


def _written(config: Mapping[str, Any]) -> PreTrainedConfig:
    """An architecture given as a mapping; unknown keys, which transformers would keep in silence, are refused."""
    options = dict(config)
    kind = options.pop("model_type", None)
    if kind not in CONFIG_MAPPING:
        raise PluginError(
            f"unknown model_type {kind!r} in the backbone's config: {_nearest(str(kind), CONFIG_MAPPING)}"
        )
    fresh = CONFIG_MAPPING[kind]()
    allowed = {*fresh.to_dict(), *fresh.attribute_map, *getattr(type(fresh), "__dataclass_fields__", {})}
    allowed |= {"rope_theta", "rope_scaling"}
    for name in options:
        if name not in allowed:
            raise PluginError(
                f"unknown setting {name!r} of {kind!r} in the backbone's config: {_nearest(name, allowed)}"
            )
    return AutoConfig.for_model(kind, **options)


def _nearest(got: str, allowed: Any) -> str:
    close = get_close_matches(got, [str(name) for name in allowed], n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"{len(list(allowed))} are known, none like it"


def _attention(kind: type[PreTrainedModel], settings: PreTrainedConfig, wanted: str) -> tuple[str | None, bool]:
    """transformers' name of the attention function, and whether it reads packed rows: attention alone mixes rows,
    so a model with convolutions or recurrence gets a padded batch."""
    if wanted in ("auto", "sdpa", "eager"):
        return (None if wanted == "auto" else wanted), False
    from mmkit_text import packed_attention

    layers = set(getattr(settings.get_text_config(), "layer_types", None) or ["full_attention"])
    attends = layers <= {"full_attention", "sliding_attention", "chunked_attention"}
    attends = attends and not getattr(settings.get_text_config(), "attn_logit_softcapping", None)  # of Gemma 2
    able = bool(kind._supports_sdpa and kind._supports_attention_backend and not kind._is_stateful and attends)
    if able:
        return packed_attention.NAME, True
    if wanted != "packed":
        raise PluginError(
            f"{settings.model_type!r} cannot read packed rows, so attention: {wanted} is not to be had; "
            "fix: attention: packed pads where it has to"
        )
    return None, False


def _set_rows(settings: PreTrainedConfig, rows: int) -> None:
    text = settings.get_text_config()
    if text.vocab_size >= rows:
        return
    text.vocab_size = rows
    if hasattr(text, "decoder_vocab_size"):
        text.decoder_vocab_size = rows


def _pretrained(auto: Any, source: str, file: str | None, **options: Any) -> PreTrainedModel:
    options |= {"gguf_file": file} if file else {"use_safetensors": True}  # never a pickle
    try:
        lm, found = auto.from_pretrained(source, trust_remote_code=False, output_loading_info=True, **options)
    except Exception as error:
        raise PluginError(
            f"the weights of {_name(source, file)} cannot be read: {type(error).__name__}: {error}"
        ) from error
    missing, wrong = sorted(found["missing_keys"]), sorted(str(key) for key in found["mismatched_keys"])
    if missing or wrong:
        raise PluginError(
            f"the weights of {_name(source, file)} are incomplete: "
            f"missing {missing[:3]} ({len(missing)} in all), of another shape {wrong[:3]} ({len(wrong)} in all)"
        )
    return cast("PreTrainedModel", lm)


def _name(source: str, file: str | None) -> str:
    return str(Path(source) / file) if file else source


def table_of(lm: nn.Module) -> Tensor:
    """The embedding table, Float["rows token_dim"]."""
    return cast("Any", lm).get_input_embeddings().weight


def mixes_rows(lm: nn.Module) -> bool:
    """Whether something other than attention looks at neighbouring rows."""
    return any(isinstance(module, nn.Conv1d) for module in lm.modules())


class PositionLimit:
    """How long a sequence a model with a table of positions can read; rotary and relative ones have no limit."""

    def __init__(self, lm: PreTrainedModel) -> None:
        self.limit: int | None = None
        text = lm.config.get_text_config()
        most = getattr(text, "max_position_embeddings", None) or getattr(text, "max_target_positions", None)
        table = lm.get_input_embeddings()
        for module in lm.modules():
            if (
                most
                and isinstance(module, nn.Embedding)
                and module is not table
                and 0 <= module.num_embeddings - most < 4
            ):
                self.limit = int(most)

    def check(self, sizes: list[int]) -> None:
        """Refuse what is too long.

        Raises:
            SampleError: with the sample, its length and the limit.
        """
        longest = max(sizes, default=0)
        if self.limit is not None and longest > self.limit:
            raise SampleError(
                f"sample {sizes.index(longest)} of the batch is {longest} tokens long; this language model has positions "
                f"for {self.limit}; fix: shorten the inputs (max_length) or generate fewer tokens (max_new_tokens)"
            )
