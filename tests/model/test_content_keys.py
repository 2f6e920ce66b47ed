"""Digests of raw values and prepared items; how items travel and are encoded beside found features."""

import hashlib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmkit import Batch, Encoder, Item, Processor, Ragged
from mmkit.model import content
from mmkit.model.batch import Media
from mmkit.model.cached import CachedItems, LooseItems, encode
from mmkit.model.content import content_key, item_key


def test_file_bytes_and_mapping_of_one_content_have_one_key(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"content")
    (tmp_path / "b.png").write_bytes(b"content")
    expected = hashlib.sha256(b"content").digest()
    forms: list[Any] = [tmp_path / "a.png", str(tmp_path / "b.png"), b"content", bytearray(b"content")]
    forms += [{"bytes": b"content", "path": "x.png"}, {"bytes": b"content"}]
    assert {content_key(form, strings_are_paths=True) for form in forms} == {expected}


def test_a_text_is_no_path_and_no_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    keys = {content_key(str(path), False), content_key(str(path), True), content_key(str(path).encode(), True)}
    assert len(keys) == 3
    assert content_key("\ud800", strings_are_paths=False) is not None


def test_values_without_bytes_of_their_own_have_no_content_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values: list[Any] = [np.zeros(3), {"array": np.zeros(3), "sampling_rate": 8000}, 3, None]
    values += [{"bytes": b"x", "sampling_rate": 8000}, {"bytes": None, "path": "x"}, tmp_path, tmp_path / "none"]
    assert [content_key(value, strings_are_paths=True) for value in values] == [None] * len(values)
    (tmp_path / "large").write_bytes(b"12345")
    monkeypatch.setattr(content, "MAX_FILE", 4)
    assert content_key(tmp_path / "large", strings_are_paths=True) is None


def test_item_key_tells_names_types_shapes_and_numbers_apart() -> None:
    base = torch.arange(6, dtype=torch.float32)
    items = [
        {"a": base},
        {"b": base},
        {"a": base.reshape(2, 3)},
        {"a": base.to(torch.float64)},
        {"a": base.view(torch.int32)},
        {"a": base + 1},
        {"a": base[:3], "b": base[3:]},
    ]
    assert len({item_key(item) for item in items}) == len(items)
    assert item_key({"a": base, "b": base}) == item_key({"b": base.clone(), "a": base})
    assert item_key({"a": base.reshape(2, 3).T.contiguous().T}) == item_key({"a": base.reshape(2, 3)})


def test_loose_items_cross_processes_as_one_tensor() -> None:
    items: list[Item] = [
        {"x": torch.randn(3, 2).to(torch.bfloat16), "n": torch.tensor(3)},
        {"x": torch.zeros(0, 2, dtype=torch.bfloat16), "n": torch.tensor(4)},
    ]
    loose = LooseItems(items)
    assert isinstance(loose.__getstate__()["bytes"], Tensor)
    again = pickle.loads(pickle.dumps(loose)).items
    for got, expected in zip(again, items, strict=True):
        assert got.keys() == expected.keys()
        assert all(torch.equal(got[name], expected[name]) for name in got)
    assert pickle.loads(pickle.dumps(LooseItems([]))).items == []


def test_pickled_media_carry_their_rows_and_not_the_whole_file() -> None:
    mapped = torch.zeros(1_000_000)
    media = Media("image", {}, 2, 2, b"k", mapped[10:14].reshape(2, 2))
    assert len(pickle.dumps(media)) < 2000


class Doubling(Encoder):
    """Twice its numbers, one row a number; remembers what it was given."""

    feature_dim = 1

    def __init__(self, promise: bool = True) -> None:
        super().__init__()
        self.seen: list[list[float]] = []
        self.promise = promise

    def processor(self) -> Processor:
        return Numbers()

    def forward(self, batch: Batch) -> Ragged:
        x = batch["x"]
        assert isinstance(x, Ragged)
        self.seen.append(x.values.tolist())
        values = x.values[:, None] * 2
        return Ragged(values, x.lengths) if self.promise else Ragged.of([values, values[:1]])


class Numbers(Processor):
    def __call__(self, raw: Any) -> Item:
        return {"x": torch.tensor(raw)}

    def num_features(self, item: Item) -> int:
        return item["x"].shape[0]

    def collate(self, items: Sequence[Item]) -> Batch:
        return {"x": Ragged.of([item["x"] for item in items])}


class Remembering:
    """A cache in memory."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Tensor] = {}
        self.counts = [0, 0]
        self.reader = self

    def find(self, key: bytes) -> Tensor | None:
        return self.rows.get(key)

    def flush(self) -> None:
        pass

    def put(self, keys: Sequence[bytes], features: Ragged) -> None:
        self.rows.update(zip(keys, features.split(), strict=True))

    def count(self, hits: int, misses: int) -> None:
        self.counts = [self.counts[0] + hits, self.counts[1] + misses]


def batch_of(raws: dict[bytes, list[float]], order: str, found: dict[bytes, Tensor]) -> tuple[CachedItems, list[int]]:
    keys = [name.encode() for name in order]
    rows = [found[key] for key in keys if key in found]
    items = [{"x": torch.tensor(raws[key])} for key in keys if key not in found]
    has = tuple(key in found for key in keys)
    part = CachedItems(tuple(keys), has, Ragged.of(rows) if rows else None, LooseItems(items))
    return part, [len(raws[key]) for key in keys]


RAWS = {b"a": [1.0, 2.0], b"b": [3.0], b"c": [4.0, 5.0, 6.0], b"d": [7.0]}


def test_found_late_found_new_and_repeated_items_keep_their_order() -> None:
    cache, encoder = Remembering(), Doubling()
    cache.rows[b"c"] = torch.tensor([[8.0], [10.0], [12.0]])  # added after the worker had looked
    part, promised = batch_of(RAWS, "abcbda", {b"a": torch.tensor([[2.0], [4.0]])})
    features = encode(encoder, part, promised, cache, torch.device("cpu"))
    assert features.values.flatten().tolist() == [2, 4, 6, 8, 10, 12, 6, 14, 2, 4]
    assert features.sizes == [2, 1, 3, 1, 1, 2]
    assert encoder.seen == [[3.0, 7.0]]
    assert cache.counts == [4, 2]
    assert set(cache.rows) == {b"b", b"c", b"d"}


def test_the_encoder_is_not_called_when_everything_is_there() -> None:
    cache, encoder = Remembering(), Doubling()
    part, promised = batch_of(RAWS, "ab", {b"a": torch.ones(2, 1), b"b": torch.ones(1, 1)})
    assert encode(encoder, part, promised, cache, torch.device("cpu")).sizes == [2, 1]
    assert encoder.seen == []


def test_features_that_break_the_promise_are_not_remembered() -> None:
    cache, encoder = Remembering(), Doubling(promise=False)
    part, promised = batch_of(RAWS, "ab", {})
    assert encode(encoder, part, promised, cache, torch.device("cpu")).sizes == [3, 1]
    assert cache.rows == {}
