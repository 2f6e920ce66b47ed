"""Figures while training runs, in the log, the step callback and the trackers."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import mmkit
from mmkit.model.batch import Ids, Sample, pack
from mmkit.training import hardware
from mmkit.training.meter import Meter, count_tokens, line


@pytest.fixture
def spec(spec: dict[str, Any]) -> dict[str, Any]:
    spec["train"] |= {"save_every": None, "stages": [{"name": "all", "steps": 4, "batch_size": 12}], "log_every": 2}
    return spec


def test_tokens_counted_are_those_of_the_streams_and_of_generated_targets() -> None:
    samples = [
        Sample("say", (Ids((1, 2, 3)),), torch.tensor([4, 5])),
        Sample("label", (Ids((1,)),), torch.tensor([0])),
    ]
    assert count_tokens(pack(samples, {}, ["say"]), ["say"]) == 3 + 2 + 1


def test_figures_reach_the_callback_and_the_log(spec: dict[str, Any], tmp_path: Path) -> None:
    logged: list[dict[str, float]] = []
    said: list[str] = []

    def step(stage: str, at: int, of: int, figures: dict[str, float]) -> None:
        logged.extend([figures] if figures else [])

    mmkit.train(spec, output=tmp_path / "model", say=said.append, step=step)
    assert len(logged) == 2
    wanted = {"loss", "loss_mood", "loss_swap", "tokens_per_second", "samples_per_second", "data_wait", "memory_gb"}
    assert wanted | {"seconds_left", "learning_rate", "grad_norm"} <= logged[0].keys()
    assert logged[0]["tokens_per_second"] > logged[0]["samples_per_second"] > 0
    assert 0 <= logged[0]["data_wait"] <= 1
    assert 0.05 < logged[0]["memory_gb"] < 50
    assert "mfu" not in logged[0]
    pattern = (
        r"stage all  step 2/4  loss \d+\.\d{3}  (mood|swap) \d+\.\d{3}  (mood|swap) \d+\.\d{3}  [\d,]+ tokens/s  "
        r"[\d,.]+ samples/s  data wait \d+%  memory \d+\.\d\d GB  left \d+:\d\d"
    )
    assert any(re.fullmatch(pattern, text) for text in said), said


def test_share_of_the_peak_is_told_on_a_known_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3_000_000_000)
    meter = Meter(10, 1_000_000_000, ["say"], torch.device("cuda"), "bf16")
    meter.tokens, meter.since = 50_000, meter.since - 1.0
    figures = meter.report(5)
    assert figures["mfu"] == pytest.approx(6 * 1e9 * 50_000 / 989e12, rel=0.01)
    assert figures["memory_gb"] == 3.0
    assert "MFU 30.3%" in line("a", 5, 10, {**figures, "mfu": 0.303})
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Unheard-of 9000")
    assert hardware.peak_flops(torch.device("cuda"), "bf16") is None


def test_loss_in_the_log_is_the_mean_over_its_steps(spec: dict[str, Any], tmp_path: Path) -> None:
    def losses(every: int) -> list[dict[str, float]]:
        found: list[dict[str, float]] = []
        spec["train"]["log_every"] = every
        step = lambda stage, at, of, figures: found.extend([figures] if "loss" in figures else [])  # noqa: E731
        mmkit.train(spec, output=tmp_path / f"m{every}", say=lambda text: None, step=step)
        return found

    single, double = losses(1), losses(2)
    assert [d["loss"] for d in double] == [
        pytest.approx((a["loss"] + b["loss"]) / 2) for a, b in zip(single[::2], single[1::2], strict=True)
    ]


def test_tensorboard_is_written_under_the_output(spec: dict[str, Any], tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    spec["train"]["trackers"] = None  # the default
    spec["data"]["valid"] = [spec["data"]["train"][0]]
    spec["train"]["eval_limit"] = 2
    mmkit.train(spec, output=tmp_path / "model", say=lambda text: None)
    events = event_accumulator.EventAccumulator(str(tmp_path / "model" / "logs" / "0-all"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"train/loss", "train/loss_mood", "train/tokens_per_second", "train/grad_norm", "eval/mood_loss"} <= tags
    assert [event.step for event in events.Scalars("train/loss")] == [2, 4]


def test_unknown_tracker_is_refused_with_the_known_ones(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["train"]["trackers"] = ["tensorbord"]
    with pytest.raises(mmkit.SpecError) as caught:
        mmkit.train(spec, output=tmp_path / "model", say=lambda text: None)
    assert [str(problem) for problem in caught.value.problems] == [
        "train.trackers[0]: Input should be 'tensorboard', 'wandb', 'mlflow' or 'trackio' (got 'tensorbord')"
    ]


def test_tracker_that_is_not_installed_is_named(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    spec["train"]["trackers"] = "trackio"
    with pytest.raises(mmkit.SpecError) as caught:
        mmkit.train(spec, output=tmp_path / "model", say=lambda text: None)
    assert [str(problem) for problem in caught.value.problems] == [
        "train.trackers[0]: tracker 'trackio' is not installed\n    fix: pip install trackio, or leave it out"
    ]
