"""Recall of retrieval between the two sides of a contrastive head."""

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

CHUNK = 1024


class Recall:
    """``recall@k_a2b`` and ``recall@k_b2a``: share of queries with a right answer among the k most similar, 0 to 1.

    Rows with equal references answer each other; without references (None) only the two sides of one row do.
    As in the Flickr30k and COCO protocols, repetitions of one item (same reference, same embedding) count once,
    as query and as answer. A wrong answer as similar as the best right one counts as before it, so collapsed
    embeddings score nothing.
    """

    def __init__(self, ks: Sequence[int] = (1, 5, 10)) -> None:
        self.ks = tuple(ks)
        self.a: list[list[float]] = []
        self.b: list[list[float]] = []
        self.keys: list[Hashable] = []

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Add ``{"a": …, "b": …}`` embeddings and keys."""
        for prediction, reference in zip(predictions, references, strict=True):
            self.keys.append(("row", len(self.a)) if reference is None else ("key", reference))
            self.a.append(prediction["a"])
            self.b.append(prediction["b"])

    def compute(self) -> dict[str, float]:
        """The figures; empty where nothing was added."""
        if not self.keys:
            return {}
        numbers: dict[Hashable, int] = {}
        keys = torch.tensor([numbers.setdefault(key, len(numbers)) for key in self.keys])
        sides = {
            name: _distinct(functional.normalize(torch.tensor(rows, dtype=torch.float64), dim=-1), keys)
            for name, rows in (("a", self.a), ("b", self.b))
        }
        figures = {}
        for query, answer in (("a", "b"), ("b", "a")):
            before = _wrong_before(*sides[query], *sides[answer])
            for k in self.ks:
                figures[f"recall@{k}_{query}2{answer}"] = float((before < k).double().mean())
        return figures


def _distinct(
    rows: Float[Tensor, "n dim"], keys: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "m dim"], Int[Tensor, " m"]]:
    """Rows without repetitions under one key (equal up to the rounding of float32)."""
    kept: dict[int, list[int]] = {}
    for index, key in enumerate(keys.tolist()):
        others = kept.setdefault(key, [])
        if not others or float((rows[others] - rows[index]).abs().amax(1).min()) > 1e-5:
            others.append(index)
    places = torch.tensor(sorted(index for group in kept.values() for index in group))
    return rows[places], keys[places]


def _wrong_before(
    queries: Float[Tensor, "n dim"],
    query_keys: Int[Tensor, " n"],
    answers: Float[Tensor, "m dim"],
    answer_keys: Int[Tensor, " m"],
) -> Int[Tensor, " n"]:
    """How many wrong answers are at least as similar as the best right one, for every query."""
    counts = []
    for start in range(0, len(queries), CHUNK):
        similar = queries[start : start + CHUNK] @ answers.T
        right = query_keys[start : start + CHUNK, None] == answer_keys[None, :]
        best = similar.masked_fill(~right, float("-inf")).amax(1, keepdim=True)
        counts.append(((similar >= best) & ~right).sum(1))
    return torch.cat(counts)
