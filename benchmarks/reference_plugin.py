"""A plugin for the reference load: ids as they are, and pictures whose features are known already."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmkit import Batch, BuildContext, Component, Config, Encoder, Item, Processor, Ragged, VocabularyAdapter, hookimpl

WIDTH, PLACES, PICTURES = 384, 49, 64


@cache
def pictures() -> Tensor:
    """Float["64 49 384"]: what a vision tower would have made of 64 pictures."""
    return torch.randn(PICTURES, PLACES, WIDTH, generator=torch.Generator().manual_seed(0))


class Ids(VocabularyAdapter):
    """Lists of ids."""

    begin_id, end_id = 1, 2

    def __init__(self, size: int) -> None:
        self.size = size

    def encode(self, raw: Any) -> list[int]:
        """The list itself."""
        return list(raw)

    def decode(self, ids: Sequence[int]) -> list[int]:
        """The list itself."""
        return list(ids)


class IdsConfig(Config):
    """Settings of ``ids``."""

    size: int


class Known(Processor):
    """The numbers of a sample's pictures → their features, end to end."""

    def __call__(self, raw: Any) -> Item:
        """Any number of pictures."""
        return {"features": pictures()[torch.tensor(raw, dtype=torch.int64)].flatten(0, 1)}

    def num_features(self, item: Item) -> int:
        """49 a picture."""
        return len(item["features"])

    def collate(self, items: Sequence[Item]) -> Batch:
        """End to end."""
        return {"features": Ragged.of([item["features"] for item in items])}


class Features(Encoder):
    """Nothing is computed."""

    feature_dim = WIDTH

    def processor(self) -> Processor:
        """That of known pictures."""
        return Known()

    def forward(self, batch: Batch) -> Ragged:
        """As they are."""
        features = batch["features"]
        if not isinstance(features, Ragged):
            raise TypeError("features are Ragged")
        return features


def build_features(context: BuildContext) -> Features:
    """Builder of ``known-features``."""
    return Features()


def build_ids(context: BuildContext, *, size: int) -> Ids:
    """Builder of ``ids``."""
    return Ids(size)


@hookimpl
def mmkit_components() -> list[Component]:
    """Both."""
    here = __name__
    return [
        Component("encoder", "known-features", "Known features.", f"{here}:build_features", "mmkit:Config"),
        Component("vocabulary", "ids", "Known ids.", f"{here}:build_ids", f"{here}:IdsConfig"),
    ]


def install(folder: Path) -> None:
    """What pip would write for this plugin, into a folder of ``sys.path``."""
    info = folder / "reference_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: reference-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[mmkit]\nreference = {__name__}\n")
