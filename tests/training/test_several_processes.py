"""Two processes train what one would: the same batches, losses, evaluations, weights and checkpoints."""

import re
import signal
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import mmkit
from mmkit.data.loading import loader, open_all
from mmkit.discovery.loader import discover
from mmkit.spec.schema import Stage
from mmkit.training.parallel.shares import share
from mmkit.wiring.planner import plan

Run = Callable[..., Any]
SEED = 2  # of an order in which some steps have pictures on one rank only
VIT = {
    "model_type": "vit",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 8,
    "patch_size": 4,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


@pytest.fixture
def spec(spec: dict[str, Any], picture: Callable[..., bytes], write_rows: Callable[..., Path], tmp_path: Path) -> Any:
    """Three tasks without dropout, one of them with pictures, of which often only one of two ranks has any; a stage that
    trains everything, one of adapters in several passes a step."""
    for seed in range(3):
        (tmp_path / f"{seed}.png").write_bytes(picture(seed, size=(8, 8)))
    pictures = write_rows([{"image": f"{n}.png", "text": "see", "out": "abc"[: n + 1]} for n in range(3)], "see.jsonl")
    spec["modalities"]["image"] = {"encoder": {"use": "hf-vision", "config": VIT}, "adapter": "linear"}
    spec["backbone"]["dropout"] = 0.0
    spec["tasks"]["see"] = {**spec["tasks"]["swap"], "input": "{image}{text}"}
    spec["data"]["train"].append({"task": "see", "path": str(pictures), "weight": 0.6})
    spec["data"]["valid"] = [{"task": "mood", "path": spec["data"]["train"][0]["path"], "limit": 7}]
    spec["data"]["valid"].append({"task": "see", "path": str(pictures)})
    spec["train"] |= {"eval_every": 3, "seed": SEED}
    spec["train"]["stages"] = [
        {"name": "first", "steps": 4, "batch_size": 4, "lr": 0.01},
        {"name": "second", "train": ["backbone", "*.head"], "lora": {"r": 2}, "steps": 4, "batch_size": 2, "lr": 0.01},
    ]
    spec["train"]["stages"][1]["accumulate"] = 3
    return spec


_WHOLE: list[tuple[Any, Path]] = []


@pytest.fixture
def whole(spec: dict[str, Any], run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """What one process does, and its folder: the same for all tests."""
    if not _WHOLE:
        folder = tmp_path_factory.mktemp("one_process") / "whole"
        _WHOLE.append((run(spec, folder), folder))
        ran = _WHOLE[0][0]
        assert ran.status == 0, ran.error
        assert len(ran.losses) == 8
    return _WHOLE[0]


def assert_like(ran: Any, whole: Any) -> None:
    """Losses, gradient norms and evaluations, but for the order of sums."""
    for place, losses in ran.losses.items():
        assert losses == pytest.approx(whole.losses[place], rel=2e-5), place
    for place, figures in ran.evals.items():
        assert figures == pytest.approx(whole.evals[place], rel=2e-5), place


def assert_same_weights(one: Path, other: Path) -> None:
    got, wanted = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(got[name], value, rtol=1e-4, atol=2e-5)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_one_rank_without_pictures_is_among_the_steps(spec: dict[str, Any]) -> None:
    """What the next tests rely on."""
    model = mmkit.build(spec, fit={"text": ["abc"]})
    sources, stage = open_all(model.plan, "train"), Stage(**spec["train"]["stages"][0])
    own = share(stage, 0, 2, model.plan)
    ranks = [islice(loader(model, sources, own, seed=SEED, rank=rank, world=2), 4) for rank in range(2)]
    steps = [tuple("image" in batch.features for batch in step) for step in zip(*ranks, strict=True)]
    assert (True, False) in steps or (False, True) in steps


@pytest.mark.parametrize("parallel", ["ddp", "fsdp2"])
def test_losses_evaluations_and_weights_are_those_of_one_process(
    spec: dict[str, Any], launch: Run, whole: tuple[Any, Path], tmp_path: Path, parallel: str
) -> None:
    spec["train"]["parallel"] = parallel
    alone, folder = whole
    first, second = launch(spec, tmp_path / "model")
    assert (first.status, second.status) == (0, 0), first.error + second.error
    assert first.losses.keys() == second.losses.keys() == alone.losses.keys()
    assert first.evals.keys() == second.evals.keys() == alone.evals.keys()
    for ran in (first, second):
        assert_like(ran, alone)
    assert_same_weights(tmp_path / "model", folder)
    assert second.said == []
    assert files(tmp_path / "model") == files(folder)


@pytest.mark.parametrize(
    ("before", "after", "stage"),
    [
        (None, "ddp", "first"),
        ("fsdp2", None, "second"),
        pytest.param("ddp", None, "second", marks=pytest.mark.slow),
        pytest.param(None, "fsdp2", "second", marks=pytest.mark.slow),
        pytest.param("fsdp2", None, "first", marks=pytest.mark.slow),
        pytest.param("ddp", "fsdp2", "second", marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_resumed_in_another_number_of_processes(
    spec: dict[str, Any],
    run: Run,
    launch: Run,
    whole: tuple[Any, Path],
    tmp_path: Path,
    before: str | None,
    after: str | None,
    stage: str,
) -> None:
    """Ranks of 2 are named by their way to share; None is one process."""

    def go(parallel: str | None, **options: Any) -> Any:
        spec["train"] |= {"parallel": parallel}
        return run(spec, output, **options) if parallel is None else launch(spec, output, **options)[0]

    (alone, folder), output = whole, tmp_path / "model"
    killed = go(before, kill=(stage, 3))
    assert killed.status == -signal.SIGKILL
    again = go(after, resume=True)
    assert again.status == 0, again.error
    path = output / "checkpoints" / f"stage0{int(stage == 'second')}-step00000002"
    assert again.said[0] == f"resuming from {path}"
    assert {**killed.losses, **again.losses}.keys() == alone.losses.keys()
    for ran in (killed, again):
        assert_like(ran, alone)
    assert_same_weights(output, folder)


def test_resumed_in_as_many_processes_it_is_exact_with_dropout_and_token_budgets(
    spec: dict[str, Any], launch: Run, tmp_path: Path
) -> None:
    spec["backbone"]["dropout"] = 0.1
    stage = {"name": "all", "steps": 6, "tokens_per_batch": 120, "lr": 0.01}
    spec["train"] |= {"parallel": "fsdp2", "eval_every": None, "stages": [stage]}
    del spec["data"]["valid"]
    whole, _ = launch(spec, tmp_path / "whole")
    assert whole.status == 0, whole.error
    killed = launch(spec, tmp_path / "model", rank1={"kill": ("all", 5)})
    again, _ = launch(spec, tmp_path / "model", resume=True)
    assert {**killed[0].losses, **again.losses} == whole.losses
    assert again.said[0].endswith("stage00-step00000004")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("model", "whole")]
    assert weights[0] == weights[1]


def test_signal_to_one_rank_stops_all_at_one_step(spec: dict[str, Any], launch: Run, tmp_path: Path) -> None:
    spec["train"] |= {"save_every": None, "stages": spec["train"]["stages"][:1]}
    ran = launch(spec, tmp_path / "model", rank1={"signal": ("first", 2, signal.SIGTERM)})
    assert [one.status for one in ran] == [143, 143]
    path = tmp_path / "model" / "checkpoints" / "stage00-step00000003"
    assert f"interrupted at step 3 of stage first: saved {path}; resume goes on from it" in ran[0].said
    assert path.is_dir()


def test_cache_of_features_is_shared_by_the_ranks(spec: dict[str, Any], run: Run, launch: Run, tmp_path: Path) -> None:
    stage = {"name": "all", "train": ["backbone", "*.adapter", "*.head"], "epochs": 3, "batch_size": 2, "lr": 0.01}
    spec["data"] = {"train": [spec["data"]["train"][2]]}
    spec["train"] = {**spec["train"], "eval_every": None, "stages": [stage], "cache": "never"}
    whole = run(spec, tmp_path / "whole")
    assert whole.status == 0, whole.error
    spec["train"]["cache"] = "always"
    first, second = launch(spec, tmp_path / "model")
    assert (first.status, second.status) == (0, 0), first.error + second.error
    for ran in (first, second):
        assert_like(ran, whole)
    (summary,) = [line for line in first.said if line.startswith("feature cache: image.encoder: ")]
    found = re.search(r" (\d+) hits, (\d+) misses; (\d+) entries", summary)
    assert found, summary
    hits, misses, entries = map(int, found.groups())
    assert hits + misses == 5  # of 9 draws, those of the first rank
    assert misses <= 3 <= entries <= 6  # both may meet one at once


def test_batch_statistics_and_negatives_are_each_ranks_own_however_weights_are_shared(
    spec: dict[str, Any], launch: Run, tmp_path: Path
) -> None:
    """What one process would compute otherwise: the same under ddp and fsdp2, with a parameter that has no dimensions."""
    spec["modalities"]["image"]["encoder"] = {"use": "cnn", "image_size": 8, "channels": [4, 6]}
    spec["tasks"]["match"] = {
        "input": "{image}{text}",
        "reads": ["image.adapter", "backbone"],
        "head": {"use": "contrastive", "dim": 4},
    }
    spec["data"] = {"train": [{**spec["data"]["train"][2], "task": "match"}], "valid": [spec["data"]["valid"][1]]}
    spec["train"] |= {"stages": spec["train"]["stages"][:1], "parallel": "ddp"}
    ddp = launch(spec, tmp_path / "ddp")
    spec["train"] |= {"parallel": "fsdp2"}
    fsdp2 = launch(spec, tmp_path / "fsdp2")
    assert [ran.status for ran in (*ddp, *fsdp2)] == [0] * 4, fsdp2[0].error
    assert len(ddp[0].losses) == 4
    for ran in (ddp[1], *fsdp2):
        assert_like(ran, ddp[0])
    assert_same_weights(tmp_path / "ddp", tmp_path / "fsdp2")


@pytest.mark.parametrize(
    ("stage", "world", "wanted"),
    [
        ({"batch_size": 8}, 2, (4, None, 1)),
        ({"batch_size": 3, "accumulate": 4}, 2, (3, None, 2)),
        ({"batch_size": 2, "accumulate": 3}, 6, (1, None, 1)),
        ({"tokens_per_batch": 100}, 2, (None, 50, 1)),
        ({"tokens_per_batch": 100, "accumulate": 2}, 2, (None, 100, 1)),
    ],
)
def test_processes_share_passes_first_then_samples(
    mood: dict[str, Any], stage: dict[str, Any], world: int, wanted: tuple[int | None, int | None, int]
) -> None:
    own = share(Stage.model_validate({"name": "a", "steps": 1, **stage}), 0, world, plan(mood, discover()))
    assert (own.batch_size, own.tokens_per_batch, own.accumulate) == wanted
