"""flow: against flows that are known in closed form, and on values that a toy distribution has."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from mmkit_tasks.flow_path import drawn_times, guided, integrate, on_path
from pydantic import ValidationError

import mmkit
from mmkit import BuildContext, Ragged

MEAN, STD = 1.5, 0.4
SMALL = {"dim": 32, "layers": 2, "heads": 2, "steps": 8}


class Point(mmkit.ContinuousAdapter):
    """A point of the plane."""

    length, dim = 1, 2

    def encode(self, raw: Any) -> torch.Tensor:
        if not isinstance(raw, list):
            raise mmkit.SampleError(f"a point must be a list, got {type(raw).__name__}")
        return torch.tensor([raw], dtype=torch.float32)

    def decode(self, vectors: torch.Tensor) -> list[float]:
        return [float(value) for value in vectors[0].tolist()]


CONTEXT = BuildContext(dims=(4,), continuous=Point())


def known(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Velocity of the straight flow between normal noise and N(MEAN, STD²): the expectation of data - noise at x."""
    t = t.view(-1, *[1] * (x.dim() - 1))
    variance = (1 - t) ** 2 + (t * STD) ** 2
    return MEAN + (t * STD**2 - (1 - t)) / variance * (x - t * MEAN)


def classes(numbers: list[int], rows: int = 3) -> Ragged:
    """What a node could say about classes: one-hot rows."""
    return Ragged.of([torch.eye(4)[number].expand(rows, 4) for number in numbers])


@pytest.mark.parametrize("time", [0.1, 0.5, 0.9])
def test_velocities_on_the_path_regress_to_those_of_the_gaussian_flow(time: float) -> None:
    noise, data = torch.randn(2, 200_000, 1)
    data = MEAN + STD * data
    times = torch.full((len(data),), time)
    x, velocity = on_path(data, noise, times)
    design = torch.cat([x, torch.ones_like(x)], 1)
    slope, shift = torch.linalg.lstsq(design, velocity).solution[:, 0].tolist()
    zero, one = known(torch.tensor([[0.0], [1.0]]), torch.full((2,), time))[:, 0].tolist()
    assert slope == pytest.approx(one - zero, abs=0.02)
    assert shift == pytest.approx(zero, abs=0.02)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_the_way_along_a_known_flow_ends_at_its_data(solver: Any, order: int) -> None:
    noise = torch.randn(50, 3, 2, dtype=torch.float64)
    wanted = MEAN + STD * noise
    errors = [float((integrate(known, noise, steps, solver) - wanted).abs().max()) for steps in (20, 40, 80)]
    for coarse, fine in pairwise(errors):
        assert fine < coarse / 2**order * 1.25
    assert errors[-1] < (0.05 if order == 1 else 0.002)


def test_times_are_inside_and_logit_normal_ones_in_the_middle() -> None:
    like = torch.zeros(1)
    uniform, middle = drawn_times(20_000, "uniform", like), drawn_times(20_000, "logit-normal", like)
    for times in (uniform, middle):
        assert 0 <= float(times.min()) <= float(times.max()) <= 1
        assert float(times.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(middle.std()) < 0.8 * float(uniform.std())


@torch.no_grad()
def test_guidance_goes_away_from_the_answer_to_nothing(make: Any) -> None:
    asked, unasked = torch.randn(2, 3, 1, 2)
    torch.testing.assert_close(guided(asked, unasked, 3.0), 3 * asked - 2 * unasked)
    torch.testing.assert_close(guided(asked, unasked, 0.0), unasked)
    head = shaken(make("flow", CONTEXT, **SMALL, guidance=3.0, attend=True))
    condition, x, times = head.reader(classes([0, 1])), torch.randn(2, 1, 2), torch.rand(2)
    nothing = head.reader.without(condition, torch.tensor([True, True]))
    wanted = 3 * head.network(x, times, condition) - 2 * head.network(x, times, nothing)
    torch.testing.assert_close(head._velocity(x, times, condition), wanted, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("attend", [False, True])
def test_what_is_dropped_says_nothing(make: Any, attend: bool) -> None:
    head = shaken(make("flow", CONTEXT, **SMALL, attend=attend))
    x, times = torch.randn(1, 1, 2).repeat(3, 1, 1), torch.full((3,), 0.3)
    condition = head.reader.without(head.reader(classes([0, 1, 1])), torch.tensor([True, True, False]))
    first, second, kept = head.network(x, times, condition)
    torch.testing.assert_close(first, second)
    assert (kept - second).abs().max() > 1e-3


@pytest.mark.parametrize("attend", [False, True])
def test_values_of_a_class_are_learnt_and_a_class_of_two_has_both(make: Any, attend: bool) -> None:
    head = make("flow", CONTEXT, **SMALL, guidance=1.0, attend=attend).train()
    points = {0: [[1.0, 1.0]], 1: [[-1.0, 0.5]], 2: [[1.0, 1.0], [-1.0, 0.5]]}
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3)
    numbers = [0, 1, 2, 2] * 16
    values = [points[number][index % len(points[number])] for index, number in enumerate(numbers)]
    features, targets = classes(numbers, rows=1), Ragged.of([head.target(value) for value in values])
    for _ in range(250):
        optimizer.zero_grad()
        head.loss([features], targets).total.div(len(numbers)).backward()
        optimizer.step()
    head.eval()
    asked = [0, 1, 2] * 20
    found = torch.tensor(head.predict([classes(asked, rows=1)], seeds=range(60)))
    for number, wanted in points.items():
        distances = torch.cdist(found[number::3], torch.tensor(wanted))
        assert float(distances.min(1).values.quantile(0.9)) < 0.3
        assert set(distances.argmin(1).tolist()) == set(range(len(wanted)))


def test_one_seed_gives_one_value_alone_and_in_a_batch(make: Any) -> None:
    head = shaken(make("flow", CONTEXT, **SMALL, attend=True))
    features = Ragged.of([torch.randn(rows, 4) for rows in (1, 5, 0, 3)])
    together = torch.tensor(head.predict([features]))
    for item in range(4):
        alone = torch.tensor(head.predict([features.select([item])]))
        torch.testing.assert_close(alone[0], together[item], atol=1e-5, rtol=1e-5)
    torch.rand(5)
    assert torch.equal(torch.tensor(head.predict([features])), together)
    head.seed = 1
    assert (torch.tensor(head.predict([features])) - together).abs().max() > 0.1
    mixed = torch.tensor(head.predict([features], seeds=[0, 1, 0, 1]))
    torch.testing.assert_close(mixed[[0, 2]], together[[0, 2]], atol=1e-5, rtol=1e-5)
    assert (mixed[[1, 3]] - together[[1, 3]]).abs().max() > 0.1


def test_training_follows_the_global_generator_and_evaluation_is_always_the_same(make: Any) -> None:
    head = shaken(make("flow", CONTEXT, **SMALL))
    features, targets = classes([0, 1]), Ragged.of([head.target([1.0, 0.0]), head.target([0.0, 1.0])])

    def loss(seed: int) -> float:
        torch.manual_seed(seed)
        return float(head.loss([features], targets).total.detach())

    assert loss(1) == loss(2)
    alone = [head.loss([features.select([item])], targets.select([item])) for item in (0, 1)]
    assert sum(float(one.total) for one in alone) == pytest.approx(loss(0), rel=1e-5)
    head.train()
    assert loss(1) == loss(1) != loss(2)


def test_an_untrained_head_loses_the_mean_square_of_the_velocity(make: Any) -> None:
    head = make("flow", CONTEXT, **SMALL).eval()
    targets = Ragged.of([head.target([1.0, 0.0]), head.target([0.0, 3.0])])
    loss = head.loss([classes([0, 1])], targets)
    wanted = sum(float((target.view(1, 2) - head.probe).square().mean()) for target in targets.split())
    assert loss.count == 2
    assert float(loss.total) == pytest.approx(wanted, rel=1e-5)


def test_options_that_exclude_each_other_are_named(make: Any) -> None:
    with pytest.raises(ValidationError, match="dim = 30 is not divisible by heads = 4"):
        make("flow", CONTEXT, dim=30)
    with pytest.raises(ValidationError, match=r"guidance other than 1 needs condition_dropout above 0: it compares"):
        make("flow", CONTEXT, condition_dropout=0)
    assert make("flow", CONTEXT, condition_dropout=0, guidance=1).reader.nothing is None


def test_a_column_without_vectors_is_refused(make: Any) -> None:
    with pytest.raises(mmkit.PluginError) as error:
        make("flow", BuildContext(dims=(4,)))
    assert str(error.value) == (
        "head 'flow': its output column is not of a modality of vectors; see columns in the task"
    )


def test_pictures_are_asked_for_in_words(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    wanted = {"a black one": 0, "a white one": 255, "a grey one": 128}
    rows = []
    for text, level in wanted.items():
        Image.fromarray(np.full((8, 8), level, np.uint8)).save(tmp_path / f"{level}.png")
        rows.append(json.dumps({"text": text, "image": f"{level}.png"}))
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    source = {"task": "draw", "path": str(tmp_path / "rows.jsonl")}
    head = {"use": "flow", **SMALL, "guidance": 1.5, "condition_dropout": 0.1}
    spec = {
        "mmkit": 1,
        "modalities": {
            "text": {"adapter": "characters"},
            "image": {"adapter": {"use": "image-patches", "image_size": 8, "channels": 1}},
        },
        "backbone": {"use": "lstm", "embedding_dim": 16, "hidden_dim": 16},
        "tasks": {"draw": {"input": "{text}", "output": "{image}", "head": head}},
        "data": {"train": [source], "test": [source], "root": str(tmp_path)},
        "train": {"stages": [{"name": "all", "steps": 200, "batch_size": 24, "lr": 5e-3}]},
    }
    model = mmkit.train(spec, output=tmp_path / "model", say=lambda line: None)
    drawn = model.predict("draw", [{"text": text} for text in wanted])
    for picture, level in zip(drawn, wanted.values(), strict=True):
        assert picture.size == (8, 8)
        assert picture.mode == "L"
        assert abs(float(np.asarray(picture).mean()) - level) < 25
    again = mmkit.load(tmp_path / "model")
    assert [np.asarray(p).tolist() for p in again.predict("draw", [{"text": text} for text in wanted])] == [
        np.asarray(p).tolist() for p in drawn
    ]
    assert mmkit.evaluate(again)["draw"].metrics["loss"] < 0.5


def shaken(head: Any) -> Any:
    """With weights off their starts, which answer nothing."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return head.eval()
