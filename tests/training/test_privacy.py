"""Private training: exact gradients of single samples, Opacus' mechanism and accountant, one budget for all stages."""

import copy
import json
import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mmkit
from mmkit.data.loading import open_all
from mmkit.data.lots import Lots
from mmkit.discovery import discover
from mmkit.errors import MmkitError, SpecError, TrainingError
from mmkit.model.batch import pack
from mmkit.spec.schema import Privacy
from mmkit.training.privacy.budget import Budget, StageBudget, epsilon, noise
from mmkit.training.privacy.gradient import PrivateGradient
from mmkit.wiring.planner import plan

opacus = pytest.importorskip("opacus")

Run = Callable[..., Any]
FIT = {"text": ["abcdefghijklmnopqrstuvwxyz "]}
CPU = torch.device("cpu")


def private(spec: dict[str, Any], **options: Any) -> dict[str, Any]:
    made = copy.deepcopy(spec)
    made["train"]["privacy"] = {"noise_multiplier": 1.0, "delta": 1e-3, "seed": 7, "accountant": "rdp", **options}
    return made


def one_task(spec: dict[str, Any], **stage: Any) -> dict[str, Any]:
    """A stage over the classifier alone, without dropout."""
    made = copy.deepcopy(spec)
    made["backbone"]["dropout"] = 0.0
    del made["tasks"]["swap"], made["data"]["train"][1]
    made["train"]["stages"] = [{"name": "only", "steps": 3, "batch_size": 8, "lr": 0.01, **stage}]
    return made


def budget(stage: StageBudget, **options: Any) -> Budget:
    given = Privacy(**{"noise_multiplier": 1.0, "delta": 1e-3, "seed": 7, "accountant": "rdp", **options})
    return Budget(given, [stage], CPU, 60)


def test_without_noise_and_clip_a_step_is_the_ordinary_one(spec: dict[str, Any]) -> None:
    model = mmkit.build(one_task(spec), fit=FIT).eval()
    sources = open_all(model.plan, "train")
    lot = next(iter(Lots(model, sources, [0.2], secret=3, seed=0, stage_index=0)))
    parameters = [p for p in model.parameters() if p.requires_grad]
    stage = StageBudget("only", 1, len(lot), (0.2,), {"mood": 1.0})
    gradient = PrivateGradient(model, parameters, budget(stage, noise_multiplier=0.0, clip=1e12), stage)
    for batch in lot:
        model(batch)["loss"].backward()
        gradient.add()
    gradient.release()
    found = [p.grad.clone() for p in parameters if p.grad is not None]
    model.zero_grad()
    samples = [model.preparer(sources[0].root)("mood", sources[0].rows[draw.row]) for draw in _drawn(model, sources)]
    model(pack(samples, model.processors()))["loss"].backward()
    wanted = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    assert len(lot) > 5
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def _drawn(model: Any, sources: Any) -> Any:
    return Lots(model, sources, [0.2], secret=3, seed=0, stage_index=0).drawn(0)


def test_no_sample_moves_a_step_by_more_than_the_clip(spec: dict[str, Any]) -> None:
    model = mmkit.build(one_task(spec), fit=FIT).eval()
    lot = next(iter(Lots(model, open_all(model.plan, "train"), [0.2], secret=3, seed=0, stage_index=0)))
    parameters = [p for p in model.parameters() if p.requires_grad]
    stage = StageBudget("only", 1, 1, (0.2,), {"mood": 1.0})
    for clip in (0.01, 1e9):
        for batch in lot[:4]:
            gradient = PrivateGradient(model, parameters, budget(stage, noise_multiplier=0.0, clip=clip), stage)
            model(batch)["loss"].backward()
            gradient.add()
            gradient.release()
            norm = float(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
            assert norm <= clip
            assert norm == pytest.approx(0.01, rel=1e-3) if clip == 0.01 else norm > 0.01
            model.zero_grad()


class Plain(nn.Module):
    """What Opacus' own engine takes: a batch dimension first."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@pytest.mark.parametrize("accountant", ["rdp", "prv"])
def test_steps_and_epsilon_are_those_of_opacus_own_engine(accountant: str) -> None:
    torch.manual_seed(0)
    ours, x, y = Plain(), torch.randn(12, 5), torch.randint(0, 3, (12,))
    theirs = copy.deepcopy(ours)
    engine = opacus.PrivacyEngine(accountant=accountant)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=4)
    wrapped, optimizer, _ = engine.make_private(
        module=theirs,
        optimizer=torch.optim.Adam(theirs.parameters(), lr=0.1),
        data_loader=data,
        noise_multiplier=0.9,
        max_grad_norm=0.7,
        poisson_sampling=False,
        noise_generator=torch.Generator().manual_seed(7),
    )
    stage = StageBudget("only", 3, 4, (1 / 3,), {"t": 1.0})
    spent = budget(stage, noise_multiplier=0.9, clip=0.7, accountant=accountant)
    gradient = PrivateGradient(ours, list(ours.parameters()), spent, stage)  # type: ignore[arg-type]
    own = torch.optim.Adam(ours.parameters(), lr=0.1)
    for first in (0, 4, 8):
        inputs, labels = x[first : first + 4], y[first : first + 4]
        optimizer.zero_grad()
        nn.functional.cross_entropy(wrapped(inputs), labels).backward()
        optimizer.step()
        own.zero_grad()
        for one, label in zip(inputs, labels, strict=True):
            nn.functional.cross_entropy(ours(one[None]), label[None]).backward()
            gradient.add()
        gradient.release()
        own.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    assert spent.spent() == pytest.approx(engine.get_epsilon(1e-3), rel=1e-9)
    assert spent.accountant.history == [(0.9, 1 / 3, 3)]


def test_one_stage_has_the_noise_that_opacus_calibrates() -> None:
    options = Privacy(epsilon=3.0, delta=1e-4, accountant="rdp")
    found = noise(options, [StageBudget("a", 200, 8, (0.05,))])
    wanted = opacus.accountants.utils.get_noise_multiplier(
        target_epsilon=3.0, target_delta=1e-4, sample_rate=0.05, steps=200, accountant="rdp"
    )
    assert found == pytest.approx(wanted, rel=1e-9)


def test_stages_share_one_budget() -> None:
    options = Privacy(epsilon=3.0, delta=1e-4, accountant="rdp")
    stages = [StageBudget("a", 200, 8, (0.05,)), StageBudget("b", 50, 8, (0.01, 0.1))]
    found = noise(options, stages)
    spent = epsilon(options, [(found, 0.05, 200), (found, 0.1, 50)])
    assert 2.97 <= spent <= 3.0
    assert found > noise(options, stages[:1])


def test_lots_are_drawn_as_the_accountant_assumes(spec: dict[str, Any]) -> None:
    model = mmkit.build(one_task(spec), fit=FIT)
    lots = Lots(model, open_all(model.plan, "train"), [0.2], secret=1 << 100, seed=0, stage_index=0)
    drawn = [[draw.row for draw in lots.drawn(step)] for step in range(2000)]
    assert all(len(set(rows)) == len(rows) for rows in drawn)
    sizes = torch.tensor([float(len(rows)) for rows in drawn])
    assert float(sizes.mean()) == pytest.approx(60 * 0.2, abs=4 * math.sqrt(60 * 0.16 / 2000))
    assert float(sizes.var()) == pytest.approx(60 * 0.16, rel=0.15)  # binomial: rows come independently
    counts = torch.bincount(torch.tensor([row for rows in drawn for row in rows]), minlength=60).float() / 2000
    assert float((counts - 0.2).abs().max()) < 5 * math.sqrt(0.16 / 2000)
    other = Lots(model, open_all(model.plan, "train"), [0.2], secret=1 << 101, seed=0, stage_index=0)
    assert [draw.row for draw in other.drawn(0)] != drawn[0]


def test_noise_cannot_be_told_from_the_spec() -> None:
    stage = StageBudget("a", 1, 1, (0.1,))
    drawn = [budget(stage, seed=None) for _ in range(2)]
    numbers = [torch.randn(20_000, generator=one.generator) for one in drawn]
    assert not torch.equal(*numbers)
    assert drawn[0].secret != drawn[1].secret
    for found in numbers:
        assert float(found.mean()) == pytest.approx(0.0, abs=0.04)
        assert float(found.std()) == pytest.approx(1.0, abs=0.03)


def test_a_run_says_and_saves_what_it_spent(spec: dict[str, Any], tmp_path: Path) -> None:
    said: list[str] = []
    given = private(spec, noise_multiplier=None, epsilon=4.0, seed=None)
    model = mmkit.train(given, output=tmp_path / "model", say=said.append)
    record = json.loads((tmp_path / "model" / "privacy.json").read_text())
    assert model.privacy == record
    assert 3.9 <= record["epsilon"] <= 4.0
    assert (record["delta"], record["clip"], record["steps"], record["accountant"]) == (1e-3, 1.0, 8, "rdp")
    assert record["sample_rate"] == pytest.approx(4 / 60)  # of the source drawn most often: 6 × 2/3 / 60 and 2 / 30
    assert [part["steps"] for part in record["history"]] == [4, 4] or record["history"][0]["steps"] == 8
    assert said[-1].startswith(f"privacy: ε {record['epsilon']:.3g} at δ 0.001 spent in 8 steps")
    assert [line for line in said if line.endswith("spent so far")]
    assert list((tmp_path / "model" / "checkpoints").glob("*stage*")) == []  # they held the noise
    mmkit.load(tmp_path / "model").save(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "privacy.json").read_text()) == record


@pytest.mark.parametrize("kill", [("first", 3), pytest.param(("second", 1), marks=pytest.mark.slow)])
def test_killed_and_resumed_bit_for_bit(spec: dict[str, Any], run: Run, tmp_path: Path, kill: tuple[str, int]) -> None:
    given = private(spec)
    whole, killed = run(given, tmp_path / "whole"), run(given, tmp_path / "model", kill=kill)
    assert whole.status == 0, whole.error
    assert killed.status == -signal.SIGKILL
    again = run(given, tmp_path / "model", resume=True)
    assert again.status == 0, again.error
    for ran in (killed, again):
        for place, losses in ran.losses.items():
            assert losses == whole.losses[place], place
    for name in ("model.safetensors", "privacy.json"):
        assert (tmp_path / "model" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.slow
def test_workers_change_nothing(spec: dict[str, Any], run: Run, tmp_path: Path) -> None:
    given = private(spec)
    alone = run(given, tmp_path / "alone")
    given["data"]["workers"] = 2
    shared = run(given, tmp_path / "shared")
    assert alone.status == shared.status == 0, shared.error
    assert alone.losses == shared.losses


@pytest.mark.parametrize(
    "change", [{"lora": {"r": 2, "targets": ["backbone"]}}, {"precision": "bf16"}, {"checkpoint_activations": True}]
)
def test_trains_adapters_in_bf16_and_with_checkpointed_activations(
    spec: dict[str, Any], tmp_path: Path, change: dict[str, Any]
) -> None:
    given = private(one_task(spec))
    given["train"]["stages"][0] |= {"lora": change["lora"]} if "lora" in change else {}
    given["train"] |= {} if "lora" in change else change
    model = mmkit.train(given, output=tmp_path / "model")
    assert model.privacy is not None
    assert model.privacy["steps"] == 3


def test_empty_lots_move_by_noise_alone_and_are_counted(spec: dict[str, Any], tmp_path: Path) -> None:
    given = private(one_task(spec, batch_size=1, steps=12))
    model = mmkit.train(given, output=tmp_path / "model")
    lots = Lots(model, open_all(model.plan, "train"), [1 / 60], secret=7, seed=0, stage_index=0)
    assert any(not lots.drawn(step) for step in range(12))
    assert model.privacy is not None
    assert model.privacy["steps"] == 12


def problems_of(spec: dict[str, Any], tmp_path: Path) -> str:
    with pytest.raises(SpecError) as caught:
        mmkit.train(spec, output=tmp_path / "model")
    assert not (tmp_path / "model").exists()
    return str(caught.value)


def test_what_cannot_be_private_is_refused(spec: dict[str, Any], tmp_path: Path) -> None:
    assert problems_of(private(one_task(spec, batch_size=None, tokens_per_batch=99)), tmp_path) == (
        "the spec has 1 problem:\n  train.stages[0].tokens_per_batch: train.privacy draws every row with one probability, "
        "and tokens_per_batch lets lengths decide\n    fix: give batch_size, the expected rows of a step"
    )
    assert problems_of(private(one_task(spec), delta=0.02), tmp_path) == (
        "the spec has 1 problem:\n  train.privacy.delta: 0.02 is not below 1 / 60 rows: a method that publishes one row "
        "whole would satisfy it\n    fix: delta: 2e-03, or smaller"
    )
    assert "a step draws 61 rows of" in problems_of(private(one_task(spec, batch_size=61)), tmp_path)
    with pytest.raises(SpecError, match="give either epsilon or noise_multiplier"):
        plan(private(spec, epsilon=1.0), discover())


def test_batch_statistics_and_losses_over_several_samples_are_refused() -> None:
    cnn = {"use": "cnn", "image_size": 8, "channels": [4], "features": "pooled"}
    spec: dict[str, Any] = {
        "mmkit": 1,
        "modalities": {
            "image": {"encoder": cnn},
            "text": {"encoder": {"use": "lstm", "vocabulary": {"use": "words", "vocab_size": 50}}},
        },
        "tasks": {
            "match": {"input": "{image}{text}", "head": "contrastive", "reads": ["image.encoder", "text.encoder"]}
        },
        "data": {"train": [{"task": "match", "path": "none.jsonl"}]},
        "train": {"privacy": {"epsilon": 1, "delta": 1e-6}, "stages": [{"name": "all", "steps": 1}]},
    }
    with pytest.raises(SpecError) as caught:
        mmkit.check(spec)
    assert str(caught.value) == (
        "the spec has 2 problems:\n  train.stages[0].train: stage all trains image.encoder, whose stem.0 keeps statistics of batches: samples are not "
        "apart from each other there, and what it keeps has no noise\n    fix: leave image.encoder out of train, so that "
        "it is frozen, or use a component with layer or group normalisation\n"
        "  tasks.match.head: the loss of tasks/contrastive compares samples with each other, so no sample has a gradient of "
        "its own\n    fix: leave this task out of data.train, train it without train.privacy, or use a head that looks at "
        "one sample"
    )
    spec["modalities"]["image"]["encoder"] |= {"norm": "group"}
    spec["train"]["privacy"] = None
    assert mmkit.check(spec)


def test_a_buffer_that_keeps_something_of_the_samples_stops_the_run() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    stage = StageBudget("only", 1, 1, (0.2,), {})
    gradient = PrivateGradient(module, list(module.parameters()), budget(stage), stage)  # type: ignore[arg-type]
    module(torch.randn(3, 2)).sum().backward()
    gradient.add()
    with pytest.raises(TrainingError) as caught:
        gradient.release()
    assert str(caught.value) == (
        "train.privacy: the pass has changed the buffer 1.running_mean, which is saved with the model and has no noise; "
        "freeze this node, or use a component that keeps nothing of its batches"
    )


def test_a_missing_opacus_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmkit.training.privacy.budget import require_opacus

    monkeypatch.setitem(__import__("sys").modules, "opacus", None)
    with pytest.raises(
        MmkitError, match=r"^train.privacy needs Opacus, which is not installed: pip install 'mmkit\[privacy\]'$"
    ):
        require_opacus()
