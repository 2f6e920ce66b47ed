"""A signal as ids of its levels, between bounds that are learnt from the data."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmkit import BuildContext, Fittable, HasAssets, HasExample, SampleError, VocabularyAdapter


class Levels(VocabularyAdapter):
    """Ids 0 … levels-1, then one that begins and one that ends a signal."""

    def __init__(self, levels: int) -> None:
        self.levels, self.size = levels, levels + 2
        self.begin_id, self.end_id = levels, levels + 1
        self.bounds: tuple[float, float] | None = None

    @property
    def fitted(self) -> bool:
        """Whether the bounds are known."""
        return self.bounds is not None

    def fit(self, raws: Iterable[Any]) -> None:
        """The lowest and the highest value."""
        values = [value for raw in raws for value in numbers(raw)]
        self.bounds = (min(values), max(values) if max(values) > min(values) else min(values) + 1)

    def save_assets(self, folder: Path) -> None:
        """``bounds.json``."""
        (folder / "bounds.json").write_text(json.dumps(self.bounds))

    def example(self) -> tuple[str, Any]:
        """A signal of eight samples."""
        low, high = self._bounds()
        return "signal of 8 samples", [low, high] * 4

    def _bounds(self) -> tuple[float, float]:
        return self.bounds or (-1.0, 1.0)

    def encode(self, raw: Any) -> list[int]:
        """The nearest level of every sample; begin and end are added where they are needed."""
        low, high = self._bounds()
        shares = [(min(max(value, low), high) - low) / (high - low) for value in numbers(raw)]
        return [round(share * (self.levels - 1)) for share in shares]

    def decode(self, ids: Sequence[int]) -> list[float]:
        """The levels as numbers."""
        low, high = self._bounds()
        return [round(low + i / (self.levels - 1) * (high - low), 3) for i in ids if i < self.levels]


def numbers(raw: Any) -> list[float]:
    if not isinstance(raw, list) or not all(isinstance(value, int | float) for value in raw):
        raise SampleError("a signal is a list of numbers")
    return raw


def build(context: BuildContext, *, levels: int) -> Levels:
    """With the bounds of a saved model, where there is one."""
    vocabulary = Levels(levels)
    if context.assets is not None:
        low, high = json.loads((context.assets / "bounds.json").read_text())
        vocabulary.bounds = (low, high)
    assert isinstance(vocabulary, Fittable)
    assert isinstance(vocabulary, HasAssets)
    assert isinstance(vocabulary, HasExample)
    return vocabulary
