"""Caches switched on for a while: which encoders and codecs, and what is said about it."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmkit.data.cache.codes import OpenCodes
from mmkit.data.cache.fingerprint import facts_of, facts_of_codec
from mmkit.data.cache.folder import default_folder
from mmkit.data.cache.store import EncoderCache
from mmkit.data.sources import Rows
from mmkit.interfaces import Codec, HasAssets
from mmkit.model.model import Model
from mmkit.spec.schema import FeatureCache, Stage

Say = Callable[[str], None]


def rows_recur(stages: Sequence[Stage], sources: Sequence[Rows]) -> bool:
    """Whether the stages together may see more samples than there are rows; False for streams, whose length nobody knows."""
    if any(rows.given.streaming for rows in sources):
        return False
    rows = sum(len(source) for source in sources)
    drawn = sum((stage.epochs or 0) * rows + (stage.steps or 0) * _samples(stage) for stage in stages)
    return drawn > rows


def _samples(stage: Stage) -> float:
    """Samples an optimizer step; a budget of tokens may hold any number of them."""
    return stage.batch_size * stage.accumulate if stage.batch_size else math.inf


@contextmanager
def feature_caches(
    model: Model, modalities: Sequence[str], *, precision: str = "fp32", recur: bool = True, say: Say | None = None
) -> Iterator[None]:
    """Features of these modalities' encoders come from the cache, and go into it, until the block ends. So do the ids of codecs
    that hold a network, in every process that encodes.

    Args:
        modalities: those whose encoder is frozen; encoders without weights, and those whose processor is not
            deterministic, are left out.
        precision: of the forward passes (``fp32``, or ``bf16`` under autocast); part of what names the features.
        recur: whether items come more than once, which ``train.cache.use: auto`` asks for.
        say: receives one line for each cache that was used, and what went wrong with it.
    """
    settings = model.plan.spec.train.cache if model.plan.spec.train else FeatureCache()
    before, say = model.caches, say or _nothing
    opened: dict[str, EncoderCache] = {}
    wanted = settings.use == "always" or (settings.use == "auto" and recur)
    if wanted:
        opened = _opened(model, modalities, settings, precision, say)
    codes = {} if settings.use == "never" else _opened_codes(model, settings, say)
    model.caches = {**opened}
    failed = True
    try:
        yield
        failed = False
    finally:
        for cache in opened.values():
            cache.close(write=not failed)
            if not failed and cache.hits + cache.misses:
                say(cache.summary())
        for name, kept in codes.items():
            _codec(model, name).store = None
            kept.close()
            if not failed:
                say(kept.summary(settings.size))
        model.caches = before


def _codec(model: Model, name: str) -> Codec:
    codec = model.vocabularies[name]
    assert isinstance(codec, Codec)
    return codec


def _opened_codes(model: Model, settings: FeatureCache, say: Say) -> dict[str, OpenCodes]:
    """Stores for the codecs that hold something trained; the others are as quick as the disk."""
    opened = {}
    for name, planned in model.plan.modalities.items():
        codec, placed = model.vocabularies.get(name), planned.vocabulary
        if placed is None or not isinstance(codec, Codec) or not isinstance(codec, HasAssets):
            continue
        options = placed.config.model_dump(mode="json", exclude_unset=True)
        info = {"node": placed.node, "options": options, "facts": facts_of_codec(model, name)}
        try:
            opened[name] = OpenCodes(_root(settings), info, settings.size)
        except OSError as error:
            say(f"code cache: {placed.node}: off, {_root(settings)} cannot be written ({error.strerror or error})")
            continue
        codec.store = opened[name].cache
    return opened


def _root(settings: FeatureCache) -> Path:
    return Path(settings.folder).expanduser().absolute() if settings.folder else default_folder()


def _opened(
    model: Model, modalities: Sequence[str], settings: FeatureCache, precision: str, say: Say
) -> dict[str, EncoderCache]:
    root, opened = _root(settings), {}
    for modality in modalities:
        encoder = model.parts.encoders[modality]
        if not any(True for _ in encoder.parameters()):
            continue
        if not encoder.processor().deterministic:
            say(f"feature cache: {modality}.encoder: off, its processor does not say that it is deterministic")
            continue
        placed = model.plan.modalities[modality].encoder
        assert placed is not None
        info = {
            "node": placed.node,
            "options": placed.config.model_dump(mode="json", exclude_unset=True),
            "facts": facts_of(model, modality, precision),
        }
        try:
            opened[modality] = EncoderCache(root, info, settings.size, say)
        except OSError as error:
            say(f"feature cache: {modality}.encoder: off, {root} cannot be written ({error.strerror or error})")
    return opened


def _nothing(line: str) -> None:
    pass
