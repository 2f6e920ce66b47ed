"""Any text encoder of transformers (BERT, RoBERTa, MPNet, DistilBERT, T5's encoder …) as an encoder."""

import json
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedConfig

from mmkit import BuildContext, Config, PluginError, Ragged, VocabularyAdapter
from mmkit_text.hf_files import empty_model, load_config, load_model, model_max_length
from mmkit_text.text_encoder import TextEncoder, TextProcessor
from mmkit_text.tokenizer import PretrainedTokenizer
from mmkit_text.tokenizer_files import read_files
from mmkit_text.vocabularies import build_vocabulary

_FILE = "encoder.json"


class HfText(TextEncoder):
    """A transformers encoder over padded batches with a mask.

    Args:
        features: ``tokens``, one row an id, special ones included; ``mean`` of them (Reimers & Gurevych 2019);
            ``cls``, the first one.
        normalise: scale every row to length 1.

    Raises:
        PluginError: the vocabulary has more ids than the model; ``cls`` without an id before the text.
    """

    def __init__(
        self,
        model: nn.Module,
        config: PreTrainedConfig,
        processor: TextProcessor,
        features: Literal["tokens", "mean", "cls"] = "tokens",
        normalise: bool = False,
    ) -> None:
        super().__init__(processor)
        self.model: Any = model
        self.config, self.features, self.normalise = config, features, normalise
        self.feature_dim = int(config.hidden_size)
        self.padding = float(getattr(config, "pad_token_id", None) or 0)
        if self.vocabulary.size > config.vocab_size:
            raise PluginError(
                f"the vocabulary has {self.vocabulary.size} ids, the model {config.model_type!r} only "
                f"{config.vocab_size}; use the model's own vocabulary, or set vocab_size in config"
            )
        if features == "cls" and not processor.prefix:
            raise PluginError("features: cls, but the tokenizer puts nothing before a text; use features: mean")

    def resize(self, size: int) -> None:
        """The table keeps its rows: the model's config has fixed them."""

    def rows(self, ids: Ragged) -> Ragged:
        """Rows of the last layer, or one a text."""
        padded, mask = ids.to_padded(self.padding)
        hidden = self.model(input_ids=padded, attention_mask=mask.long()).last_hidden_state
        if self.features == "tokens":
            given = ids.unpad(hidden)
        else:
            one = hidden[:, 0] if self.features == "cls" else _mean(hidden, mask)
            given = ids.equal(one[:, None])
        return given.replace(functional.normalize(given.values, dim=-1)) if self.normalise else given

    def save_assets(self, folder: Path) -> None:
        """Write the architecture, the vocabulary and the processor's settings."""
        super().save_assets(folder)
        self.config.save_pretrained(folder)
        said = {name: getattr(self.prepared, name) for name in ("prefix", "suffix", "max_length")}
        (folder / _FILE).write_text(json.dumps(said), "utf-8")


def _mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weights = mask[..., None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def _limit(
    model: nn.Module, config: PreTrainedConfig, source: Path | str | None, around: int, given: int | None
) -> int | None:
    """Most ids of an item: as many as there are positions, fewer where the files or the spec say so.

    Raises:
        PluginError: the spec asks for more ids than there are positions, or for no text at all.
    """
    positions: Any = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    places: int | None = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, nn.Embedding):
        # RoBERTa and its kin count positions from the padding's id on
        unused = 0 if positions.padding_idx is None else positions.padding_idx + 1
        places = positions.num_embeddings - unused
    if given is not None and places is not None and given > places:
        raise PluginError(f"max_length {given}, but the model has {places} positions; give at most {places}")
    if given is not None and given <= around:
        raise PluginError(f"max_length {given}, but {around} ids are put around every text; give more than {around}")
    limits = [n for n in (places, model_max_length(source)) if n is not None]
    return given or min(limits, default=None)


def _around(vocabulary: VocabularyAdapter) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What is put before and after a text: as the tokenizer says, else begin and end."""
    if isinstance(vocabulary, PretrainedTokenizer):
        return vocabulary.prefix, vocabulary.suffix
    return (vocabulary.begin_id,), (vocabulary.end_id,)


def _vocabulary(
    context: BuildContext, path: Path | None, hub: str | None, vocabulary: Config | None
) -> VocabularyAdapter:
    if vocabulary is not None:
        return build_vocabulary(context, vocabulary)
    if context.assets is not None:
        return PretrainedTokenizer.load(context.assets / "vocabulary")
    return PretrainedTokenizer.of(read_files(path, hub))


def build(
    context: BuildContext,
    *,
    path: Path | None,
    hub: str | None,
    config: dict[str, Any] | None,
    vocabulary: Config | None,
    features: Literal["tokens", "mean", "cls"],
    normalise: bool,
    max_length: int | None,
) -> HfText:
    """The architecture of a folder, the hub or a config; weights of the first two."""
    source = path if path is not None else hub
    words = _vocabulary(context, path, hub, vocabulary)
    if config is not None and "vocab_size" not in config:
        config = {**config, "vocab_size": words.size}
    made = load_config(context.assets or source, config)
    weights = source is not None and context.load_weights
    model = load_model(source, made) if source is not None and weights else empty_model(made)
    pooled = features != "tokens"
    if context.assets is not None:
        said = json.loads((context.assets / _FILE).read_text("utf-8"))
        processor = TextProcessor(words, tuple(said["prefix"]), tuple(said["suffix"]), said["max_length"], pooled)
    else:
        prefix, suffix = _around(words)
        limit = _limit(model, made, source, len(prefix) + len(suffix), max_length)
        processor = TextProcessor(words, prefix, suffix, limit, pooled)
    return HfText(model, made, processor, features, normalise)
