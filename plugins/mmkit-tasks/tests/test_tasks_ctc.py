"""CTC: loss as torch's, exact alone and in a batch, infeasible targets named, decoding against brute force."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

import mmkit
from mmkit import BuildContext, Ragged

CASES: list[dict[str, Any]] = [
    {},
    {"blank": "first"},
    {"projection": 5, "rnn_layers": 2, "rnn_dim": 4, "dropout": 0.3},
    {"rnn": "lstm", "rnn_layers": 1, "rnn_dim": 4, "blank": "first"},
]


@pytest.fixture
def context(characters: Any) -> BuildContext:
    return BuildContext(dims=(6,), vocabulary=characters)


@pytest.mark.parametrize("config", CASES)
def test_loss_is_that_of_torch_and_of_each_sample_alone(
    make: Any, rebuilt: Any, items: Any, context: BuildContext, config: dict[str, Any]
) -> None:
    head = make("ctc", context, **config).eval()
    features = items([9, 3, 5], 6)
    targets = Ragged.of([head.target(text) for text in ("hello", "", "abc")])
    assert targets.sizes == [5, 0, 3]
    loss = head.loss([features], targets)
    assert loss.count == 3
    blank = 0 if config.get("blank") == "first" else 29
    padded, _ = head.log_probabilities(features).to_padded()
    wanted = targets.values + (1 if blank == 0 else 0)
    reference = nn.CTCLoss(blank)(padded.transpose(0, 1), wanted, features.lengths, targets.lengths)
    torch.testing.assert_close(loss.total / loss.count, reference)
    alone = [head.loss([features.select([i])], targets.select([i])).total for i in range(3)]
    torch.testing.assert_close(sum(alone), loss.total, atol=1e-5, rtol=1e-6)
    loss.total.backward()
    assert [n for n, p in head.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []
    again = rebuilt(head, "ctc", context, **config)
    torch.testing.assert_close(again.loss([features], targets).total, loss.total, atol=0, rtol=0)


@pytest.mark.parametrize("beams", [1, 4])
def test_trained_head_spells_its_targets_back(make: Any, items: Any, context: BuildContext, beams: int) -> None:
    torch.manual_seed(0)
    head = make("ctc", context, rnn_layers=1, rnn_dim=16, beams=beams)
    features, texts = items([12, 7, 9], 6), ["hello you", "", "aab"]
    targets = Ragged.of([head.target(text) for text in texts])
    optimizer = torch.optim.Adam(head.parameters(), 0.03)
    for _ in range(80):
        optimizer.zero_grad()
        head.loss([features], targets).total.backward()
        optimizer.step()
    assert head.predict([features]) == texts
    assert [head.predict([features.select([i])])[0] for i in range(3)] == texts


def test_targets_that_do_not_fit_are_counted_and_named(make: Any, items: Any, context: BuildContext) -> None:
    features = items([9, 6, 2], 6)
    head = make("ctc", context)
    targets = Ragged.of([head.target(text) for text in ("hello", "aabbcc", "abc")])
    with pytest.raises(mmkit.SampleError) as caught:
        head.loss([features], targets)
    assert str(caught.value) == (
        "head 'ctc': 2 of 3 samples have more target ids than their input can spell; the first is sample 1 of its "
        "batch: 6 feature rows, 6 ids that need at least 9; use an encoder or adapter that shortens less, a "
        "vocabulary with longer units, or head.zero_infinity: true to leave such samples out of the loss"
    )
    lenient = make("ctc", context, zero_infinity=True)
    lenient.load_state_dict(head.state_dict())
    total = lenient.loss([features], targets).total
    torch.testing.assert_close(total, head.loss([features.select([0])], targets.select([0])).total)
    total.backward()
    assert all(bool(p.grad.isfinite().all()) for p in lenient.parameters())


def test_sample_without_features(make: Any, items: Any, context: BuildContext) -> None:
    head = make("ctc", context, rnn_layers=1, rnn_dim=4)
    nothing = items([0, 0], 6)
    assert head.predict([nothing]) == ["", ""]
    assert float(head.loss([nothing], Ragged.of([head.target(""), head.target("")])).total) == 0.0
    with pytest.raises(mmkit.SampleError, match="1 of 2 samples"):
        head.loss([nothing], Ragged.of([head.target(""), head.target("a")]))


def test_greedy_merges_repeats_and_drops_blanks() -> None:
    from mmkit_tasks.ctc_decode import greedy

    path = torch.tensor([1, 1, 2, 0, 0, 2, 0, 1, 2, 2])
    scores = torch.nn.functional.one_hot(path, 3).float()
    assert greedy(Ragged(scores, torch.tensor([7, 3])), 2) == [[1, 0, 0], [1]]


@pytest.mark.parametrize("blank", [0, 2])
def test_wide_prefix_beam_search_finds_the_likeliest_sequence_of_all(blank: int) -> None:
    from mmkit_tasks.ctc_decode import prefix_beam

    for seed in range(20):
        scores = (torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)) * 1.5).log_softmax(-1)
        masses: dict[tuple[int, ...], float] = {}
        for path in product(range(3), repeat=5):
            merged = [c for i, c in enumerate(path) if c != blank and (i == 0 or path[i - 1] != c)]
            chance = float(torch.stack([scores[t, c] for t, c in enumerate(path)]).sum().exp())
            masses[tuple(merged)] = masses.get(tuple(merged), 0.0) + chance
        assert tuple(prefix_beam(scores, blank, 64)) == max(masses, key=lambda key: masses[key])
