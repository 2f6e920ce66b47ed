"""What the text encoders share: text → ids in a data worker, and a vocabulary that may be learnt from the data."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmkit import Batch, Encoder, Fittable, HasAssets, Item, Padded, Processor, Ragged, SampleError, VocabularyAdapter
from mmkit_text.texts import EXAMPLE


@dataclass(frozen=True)
class TextProcessor(Processor):
    """Text → ids.

    Attributes:
        prefix, suffix: ids put around every text.
        max_length: most ids of an item, prefix and suffix included; longer texts are cut at their end.
        pooled: the encoder gives one row a text. A text without ids then is an error; otherwise it has no rows.
    """

    vocabulary: VocabularyAdapter
    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()
    max_length: int | None = None
    pooled: bool = False
    strings_are_paths = False
    deterministic = True

    def __call__(self, raw: Any) -> Item:
        """``ids``: Int["n"].

        Raises:
            SampleError: not a text, or nothing in it that could be pooled.
        """
        ids = self.vocabulary.encode(raw)
        if self.max_length is not None:
            ids = ids[: self.max_length - len(self.prefix) - len(self.suffix)]
        whole = [*self.prefix, *ids, *self.suffix]
        if self.pooled and not whole:
            raise SampleError(f"text {raw!r} has no tokens, so there is nothing to pool; leave such rows out")
        return {"ids": torch.tensor(whole, dtype=torch.int64)}

    def num_features(self, item: Item) -> int:
        """One row an id, or one a text."""
        return 1 if self.pooled else item["ids"].shape[0]

    def example(self) -> tuple[str, Any]:
        """A sentence."""
        return EXAMPLE

    def collate(self, items: Sequence[Item]) -> Batch:
        """``ids``: a Ragged of Int["total"]."""
        return {"ids": Ragged.of([item["ids"] for item in items])}


class TextEncoder(Encoder):
    """Sub-classes give ``rows`` and ``resize``.

    Attributes:
        vocabulary: learnt from the data before the model is built, where it can learn.
    """

    def __init__(self, processor: TextProcessor) -> None:
        super().__init__()
        self.prepared = processor
        self.vocabulary = processor.vocabulary

    @abstractmethod
    def rows(self, ids: Ragged) -> Ragged:
        """Features of at least one id; no item is empty."""

    @abstractmethod
    def resize(self, size: int) -> None:
        """Called once a vocabulary has learnt how many ids it has; tables are made anew."""

    @property
    def fitted(self) -> bool:
        """Whether the vocabulary is ready."""
        return not isinstance(self.vocabulary, Fittable) or self.vocabulary.fitted

    def fit(self, raws: Iterable[Any]) -> None:
        """Learn the vocabulary."""
        assert isinstance(self.vocabulary, Fittable)
        self.vocabulary.fit(raws)
        self.resize(self.vocabulary.size)

    def processor(self) -> TextProcessor:
        """Text → ids."""
        return self.prepared

    def save_assets(self, folder: Path) -> None:
        """Write the vocabulary into the folder ``vocabulary``."""
        inner = folder / "vocabulary"
        inner.mkdir()
        if isinstance(self.vocabulary, HasAssets):
            self.vocabulary.save_assets(inner)

    def forward(self, batch: Batch) -> Ragged:
        """Float["total feature_dim"]; a text without ids has no rows."""
        ids = batch["ids"]
        assert isinstance(ids, Ragged)
        if isinstance(ids, Padded):
            return self.rows(ids)
        filled = [size for size in ids.sizes if size]
        if not filled:
            width = next(p for p in self.parameters() if p.is_floating_point())
            return ids.replace(width.new_zeros(0, self.feature_dim))
        given = self.rows(ids if len(filled) == len(ids) else Ragged.sized(ids.values, filled))
        if len(given) == len(ids):
            return given
        sizes = iter(given.sizes)
        return Ragged.sized(given.values, [next(sizes) if size else 0 for size in ids.sizes])
