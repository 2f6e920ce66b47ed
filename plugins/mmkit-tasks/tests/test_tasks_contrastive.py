"""Contrastive: losses as the papers' and transformers', keys, missing sides, recall."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional

import mmkit
from mmkit import BuildContext, Ragged

CONTEXT = BuildContext(dims=(6, 4))


@pytest.fixture
def pair(items: Any) -> list[Ragged]:
    return [items([2, 1, 3, 5], 6), items([1, 4, 2, 1], 4, seed=1)]


def nothing(count: int) -> Ragged:
    return Ragged(torch.zeros(0, dtype=torch.int64), torch.zeros(count, dtype=torch.int64))


def test_infonce_is_the_loss_of_clip(make: Any, rebuilt: Any, pair: list[Ragged]) -> None:
    from transformers.models.clip.modeling_clip import image_text_contrastive_loss

    head = make("contrastive", CONTEXT, dim=8)
    loss = head.loss(pair, nothing(4))
    a, b = (torch.tensor([p[side] for p in head.predict(pair)]) for side in ("a", "b"))
    torch.testing.assert_close(
        loss.total / loss.count, image_text_contrastive_loss(b @ a.T / 0.07), atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(a.norm(dim=1), torch.ones(4))
    loss.total.backward()
    assert [n for n, p in head.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []
    again = rebuilt(head, "contrastive", CONTEXT, dim=8)
    assert again.predict(pair) == head.predict(pair)


def test_sigmoid_is_the_loss_of_siglip(make: Any, pair: list[Ragged]) -> None:
    head = make("contrastive", CONTEXT, dim=8, loss="sigmoid")
    loss = head.loss(pair, nothing(4))
    a, b = (torch.tensor([p[side] for p in head.predict(pair)]) for side in ("a", "b"))
    # Algorithm 1 of Zhai et al. 2023
    labels = 2 * torch.eye(4) - torch.ones(4, 4)
    expected = -functional.logsigmoid(labels * (a @ b.T * 10 - 10)).sum() / 4
    torch.testing.assert_close(loss.total / loss.count, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["infonce", "sigmoid"])
def test_equal_keys_are_not_negatives(make: Any, pair: list[Ragged], kind: str) -> None:
    head = make("contrastive", CONTEXT, dim=8, loss=kind)
    different = Ragged.of([head.target(key) for key in ("p", "q", "r", 4)])
    torch.testing.assert_close(head.loss(pair, different).total, head.loss(pair, nothing(4)).total)
    targets = Ragged.of([head.target(key) for key in ("p", "q", "p", 4)])
    a, b = head.embed(pair)
    logits = a @ b.T * head.log_scale.exp() + (0 if head.bias is None else head.bias)
    keep = torch.ones(4, 4, dtype=torch.bool)
    keep[0, 2] = keep[2, 0] = False
    if kind == "sigmoid":
        expected = -functional.logsigmoid((2 * torch.eye(4) - 1) * logits)[keep].sum()
    else:
        masses = logits.exp() * keep
        expected = -(2 * logits.diag() - masses.sum(0).log() - masses.sum(1).log()).sum() / 2
    torch.testing.assert_close(head.loss(pair, targets).total, expected)


def test_embeddings_are_the_same_alone(make: Any, pair: list[Ragged]) -> None:
    head = make("contrastive", CONTEXT, dim=8, pool="max")
    for index, expected in enumerate(head.predict(pair)):
        alone = head.predict([side.select([index]) for side in pair])[0]
        assert alone["a"] == pytest.approx(expected["a"], abs=1e-6)
        assert alone["b"] == pytest.approx(expected["b"], abs=1e-6)


def test_temperature_is_clipped_in_training_only(make: Any, pair: list[Ragged]) -> None:
    head = make("contrastive", CONTEXT, dim=8)
    head.log_scale.data.fill_(6.0)
    head.eval().loss(pair, nothing(4))
    assert head.log_scale.item() == 6.0
    head.train().loss(pair, nothing(4))
    assert head.log_scale.item() == pytest.approx(math.log(100))


def test_logits_keep_float32_under_bfloat16_autocast(make: Any, pair: list[Ragged]) -> None:
    head = make("contrastive", BuildContext(dims=(6, 6)), dim=None)
    sides = [pair[0], pair[0]]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = head.loss(sides, nothing(4)).total
    torch.testing.assert_close(rounded, head.loss(sides, nothing(4)).total)


def test_absent_side_is_named(make: Any, items: Any) -> None:
    head = make("contrastive", CONTEXT)
    with pytest.raises(mmkit.SampleError) as caught:
        head.predict([items([2, 1], 6), items([3, 0], 4)])
    assert str(caught.value) == (
        "head 'contrastive': sample 1 of its batch has no features from the second node of reads; "
        "both columns of every row must be there and not be empty"
    )


def test_unfit_keys_and_widths_are_refused(make: Any) -> None:
    with pytest.raises(mmkit.SampleError) as caught:
        make("contrastive", CONTEXT).target(1.5)
    assert str(caught.value) == "the key of a contrastive task is text or an integer, got float"
    with pytest.raises(mmkit.PluginError) as error:
        make("contrastive", CONTEXT, dim=None)
    assert str(error.value) == (
        "head 'contrastive': dim: null projects nothing, but the nodes are 6 and 4 wide; set dim"
    )


def test_recall_is_the_hit_rate_of_torchmetrics() -> None:
    from mmkit_tasks.retrieval import Recall
    from torchmetrics.retrieval import RetrievalHitRate

    a, b = torch.randn(2, 40, 6, generator=torch.Generator().manual_seed(0)).unbind()
    b = a + 0.8 * b
    metric = Recall()
    for part in (slice(0, 25), slice(25, 40)):
        rows = [{"a": x, "b": y} for x, y in zip(a[part].tolist(), b[part].tolist(), strict=True)]
        metric.update(rows, [None] * len(rows))
    figures = metric.compute()
    similar = functional.normalize(a, dim=1) @ functional.normalize(b, dim=1).T
    for name, scores in (("a2b", similar), ("b2a", similar.T)):
        for k in (1, 5, 10):
            indexes = torch.arange(40)[:, None].expand(40, 40)
            expected = RetrievalHitRate(top_k=k)(scores.flatten(), torch.eye(40).bool().flatten(), indexes.flatten())
            assert figures[f"recall@{k}_{name}"] == pytest.approx(float(expected))
    assert 0 < figures["recall@1_a2b"] < figures["recall@5_a2b"]


def test_recall_counts_a_picture_with_several_captions_once() -> None:
    from mmkit_tasks.retrieval import Recall

    picture = {"cat": [1.0, 0.0, 0.0], "dog": [0.0, 1.0, 0.0], "sun": [0.0, 0.0, 1.0]}
    captions = {"cat": [[0.9, 0.1, 0.0], [0.4, 0.9, 0.0]], "dog": [[0.0, 0.8, 0.1]], "sun": [[0.5, 0.5, 0.4]]}
    rows = [({"a": picture[k], "b": caption}, k) for k, texts in captions.items() for caption in texts]
    metric = Recall(ks=(1, 2))
    metric.update([row for row, _ in rows], [key for _, key in rows])
    # pictures: all three find a caption of their own first; captions: cat's second finds the dog first and the cat
    # second; sun's finds cat and dog first.
    assert metric.compute() == {
        "recall@1_a2b": 1.0,
        "recall@2_a2b": 1.0,
        "recall@1_b2a": 0.5,
        "recall@2_b2a": 0.75,
    }


def test_collapsed_embeddings_score_nothing() -> None:
    from mmkit_tasks.retrieval import Recall

    metric = Recall(ks=(1,))
    metric.update([{"a": [1.0, 0.0], "b": [1.0, 0.0]}] * 4, [None] * 4)
    assert metric.compute() == {"recall@1_a2b": 0.0, "recall@1_b2a": 0.0}
    assert Recall().compute() == {}
