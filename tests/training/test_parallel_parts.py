"""What ranks do together: sums, norms, statistics, and weights of which each holds a part."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import mmkit
from mmkit.errors import DataError, SpecError
from mmkit.spec.schema import Stage
from mmkit.training.parallel.engines import share_statistics, sum_gradients
from mmkit.training.parallel.gradients import clip, local, total_norm
from mmkit.training.parallel.ranks import Ranks
from mmkit.training.parallel.sharded import Sharded
from mmkit.training.stages import apply_stage

Both = Callable[[Callable[[Ranks], Any]], list[Any]]


def test_gradients_are_summed_whichever_rank_has_them(both: Both) -> None:
    def work(ranks: Ranks) -> Any:
        weights = [nn.Parameter(torch.zeros(size)) for size in (3, 2, 4, 2**22, 5)]
        weights[0].grad = torch.full((3,), 1.0 + ranks.rank)
        weights[1 + ranks.rank].grad = torch.ones_like(weights[1 + ranks.rank])
        weights[3].grad = torch.full((2**22,), 0.5)
        sum_gradients(weights)
        return [None if weight.grad is None else weight.grad[:2].tolist() for weight in weights]

    assert both(work) == [[[3.0, 3.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0], None]] * 2


def test_statistics_of_batches_become_their_mean_where_they_are_trained(both: Both) -> None:
    def work(ranks: Ranks) -> Any:
        model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2).eval(), nn.LayerNorm(2))
        for module in model[:2]:
            module.running_mean.fill_(float(ranks.rank))  # type: ignore[union-attr,operator]
        share_statistics(model)
        return [module.running_mean.tolist() for module in model[:2]]  # type: ignore[union-attr,operator]

    assert both(work) == [[[0.5, 0.5], [float(rank)] * 2] for rank in range(2)]


def test_an_error_of_one_rank_is_raised_on_all_as_it_was(both: Both) -> None:
    def work(ranks: Ranks) -> Any:
        said = []
        problem = mmkit.Problem("train", "wrong", "mend it")
        for error in (DataError("rows"), SpecError([problem])):
            try:
                ranks.agree([1.0], error if ranks.rank == 1 else None)
            except mmkit.MmkitError as caught:
                said.append([type(caught).__name__, str(caught)])
        return [*said, ranks.agree([1.0, 2.0])]

    spec = "the spec has 1 problem:\n  train: wrong\n    fix: mend it"
    assert both(work) == [[["DataError", "rows"], ["SpecError", spec], [2.0, 4.0]]] * 2


@pytest.fixture
def tied(spec: dict[str, Any]) -> dict[str, Any]:
    """With weights that two modules share, and one without dimensions."""
    spec["backbone"] |= {"tie": True, "dropout": 0.0}
    return spec


def test_a_rank_holds_half_of_the_weights_and_gradients(tied: dict[str, Any], both: Both) -> None:
    def work(ranks: Ranks) -> Any:
        model = mmkit.build(tied, fit={"text": ["abcdefgh"]})
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        total = sum(parameter.numel() for parameter in model.parameters())
        trained = apply_stage(model, Stage(name="a", steps=1), 0, ["mood", "swap"])
        engine = Sharded(model, trained, ranks)
        held = sum(local(parameter).numel() for parameter in engine.trained.parameters.values())
        left = sum(parameter.numel() for parameter in model.parameters())
        with engine.whole():
            same = all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
        norms = _step(engine, ranks)
        held_gradients = sum(local(p.grad).numel() for p in engine.trained.parameters.values() if p.grad is not None)
        engine.finish()
        same_after = all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
        return [total, held, left, same, same_after, held_gradients, *norms]

    results = both(work)
    for total, held, left, same, same_after, gradients, norm, clipped in results:
        assert held < 0.52 * total
        assert left == 0
        assert same
        assert same_after
        assert 0 < gradients <= held
        assert clipped == pytest.approx(0.1, rel=1e-4)
        assert norm == pytest.approx(results[0][6], rel=1e-6)
    assert sum(result[1] for result in results) == results[0][0]


def _step(engine: Sharded, ranks: Ranks) -> list[float]:
    """Gradients that are the rank plus one everywhere in the head, which other rank or not; their norm, and clipped."""
    engine.before()
    head = engine.net.model.nodes()["mood.head"]
    loss = sum((ranks.rank + 1) * parameter.sum() for parameter in head.parameters())
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    engine.reduce()
    weights = list(engine.trained.parameters.values())
    norm = total_norm(weights)
    size = sum(parameter.numel() for parameter in head.parameters())
    assert norm.item() == pytest.approx(3 * size**0.5)
    clip(weights, 0.1, norm)
    return [norm.item(), total_norm(weights).item()]
