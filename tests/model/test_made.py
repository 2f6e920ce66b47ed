"""How long predictions are and whether they ended by themselves, in a batch and as a stream."""

from typing import Any

import pytest
import torch

import mmkit
from mmkit.model.batch import pack
from mmkit.model.generate import Made, made_batch

TEXTS = ["one two three", "four", "five six"]


@pytest.fixture(scope="module")
def model() -> mmkit.Model:
    torch.manual_seed(0)
    task = {"input": "{text}", "output": "{text}", "head": "generate"}
    label = {"input": "{text}", "output": "{label}", "head": {"use": "classify", "labels": ["a", "b"]}}
    spec = {
        "mmkit": 1,
        "modalities": {"text": {"adapter": {"use": "words", "vocab_size": 12}}},
        "backbone": {"use": "transformer", "dim": 16, "layers": 1, "heads": 2},
        "tasks": {"say": task, "label": label},
    }
    return mmkit.build(spec, fit={"text": TEXTS}).eval()


@torch.no_grad()
def made(model: mmkit.Model, task: str, **options: Any) -> list[Made]:
    prepare = model.preparer()
    return made_batch(model, task, pack([prepare(task, {"text": text}, target=False) for text in TEXTS], {}), **options)


@pytest.mark.parametrize("options", [{"temperature": 1.0, "seed": [1, 2, 3]}, {"beams": 3}], ids=["sampled", "beams"])
def test_ids_are_counted_and_what_was_cut_is_known(model: mmkit.Model, options: dict[str, Any]) -> None:
    long = made(model, "say", max_new_tokens=50, **options)
    shortest = min(one.ids for one in long)
    cut = made(model, "say", max_new_tokens=shortest + 1, **options)
    assert [one.value for one in long] == model.predict(
        "say", [{"text": t} for t in TEXTS], max_new_tokens=50, **options
    )
    assert all(one.whole == (one.ids < 50) for one in long)
    if "seed" in options:  # the same ids, until the limit
        assert any(one.whole for one in long)
        assert [one.ids for one in cut] == [min(one.ids, shortest + 1) for one in long]
        assert [one.whole for one in cut] == [one.ids <= shortest for one in long]


def test_a_stream_counts_the_same(model: mmkit.Model) -> None:
    for most in (3, 50):
        (alone,) = made(model, "say", max_new_tokens=most, temperature=1.0, seed=[1, 2, 3])[:1]
        pieces = list(model.stream("say", {"text": TEXTS[0]}, max_new_tokens=most, temperature=1.0, seed=1))
        assert (pieces[-1].ids, pieces[-1].whole) == (alone.ids, alone.whole)
        assert [piece.ids for piece in pieces] == sorted(piece.ids for piece in pieces)


def test_what_no_ids_are_written_for_is_whole(model: mmkit.Model) -> None:
    assert [(one.ids, one.whole) for one in made(model, "label")] == [(0, True)] * 3
