"""Scores of a task's own part of the shared table, by the output layer or by the backbone's own way."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmkit import Backbone, Ragged, Scores


class Linear(Backbone):
    """An output layer; ``capped`` bounds what it gives."""

    def __init__(self, capped: bool) -> None:
        super().__init__()
        self.token_dim = self.hidden_dim = 6
        self.layer, self.capped = nn.Linear(6, 12), capped

    def embed(self, ids: Tensor) -> Tensor:
        return self.layer.weight[ids]

    def forward(self, prompt: Ragged, target: Ragged | None = None) -> Ragged:
        return target or prompt

    def logits(self, hidden: Tensor) -> Tensor:
        scores = self.layer(hidden)
        return torch.tanh(scores) if self.capped else scores

    def output_layer(self) -> tuple[Tensor, Tensor | None] | None:
        return None if self.capped else (self.layer.weight, self.layer.bias)


@pytest.mark.parametrize("place", [(0, 12), (0, 5), (4, 8)])
@pytest.mark.parametrize("capped", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_is_over_the_tasks_own_ids(place: tuple[int, int], capped: bool, smoothing: float) -> None:
    torch.manual_seed(0)
    backbone, (offset, size) = Linear(capped), place
    hidden = Ragged(torch.randn(7, 6, requires_grad=True), torch.tensor([3, 0, 4]))
    targets = hidden.replace(torch.randint(0, size, (7,)))
    scores = Scores(hidden.values, hidden.lengths, backbone, offset, size)
    rows = backbone.logits(hidden.values)[:, offset : offset + size]
    torch.testing.assert_close(scores.logits(), rows)
    given = [hidden.values, backbone.layer.weight, backbone.layer.bias]
    expected = functional.cross_entropy(rows, targets.values, reduction="sum", label_smoothing=smoothing)
    got = scores.cross_entropy(targets, smoothing)
    torch.testing.assert_close(got, expected, atol=0, rtol=1e-6)
    for one, other in zip(torch.autograd.grad(got, given), torch.autograd.grad(expected, given), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_the_whole_table_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, seen = Linear(False), []
    monkeypatch.setattr(
        "mmkit.interfaces.scores.linear_cross_entropy", lambda *given: seen.append(given) or given[0].sum()
    )
    hidden = Ragged(torch.randn(2, 6), torch.tensor([2]))
    Scores(hidden.values, hidden.lengths, backbone, 0, 12).cross_entropy(hidden.replace(torch.tensor([1, 2])))
    Scores(hidden.values, hidden.lengths, backbone, 2, 4).cross_entropy(hidden.replace(torch.tensor([1, 2])))
    assert seen[0][1] is backbone.layer.weight
    assert seen[1][1].data_ptr() == backbone.layer.weight[2].data_ptr()
