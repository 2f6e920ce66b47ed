"""A run that dies anywhere and is resumed has the losses and the weights of one that was left alone, bit for bit."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture
def whole(spec: dict[str, Any], run: Run, tmp_path: Path) -> Any:
    """The run that nobody disturbs."""
    ran = run(spec, tmp_path / "whole")
    assert ran.status == 0, ran.error
    assert len(ran.losses) == 8
    return ran


def resumed_like(whole: Any, spec: dict[str, Any], run: Run, tmp_path: Path, output: Path, killed: Any) -> Any:
    """Resume, and compare every loss of both parts and the final weights."""
    again = run(spec, output, resume=True)
    assert again.status == 0, again.error
    for ran in (killed, again):
        for place, losses in ran.losses.items():
            assert losses == whole.losses[place], place
    assert {**killed.losses, **again.losses}.keys() == whole.losses.keys()
    assert weights(output) == weights(tmp_path / "whole")
    return again


@pytest.mark.parametrize("kill", [(stage, at) for stage in ("first", "second") for at in (1, 2, 3, 4)])
def test_killed_at_any_step_of_any_stage(
    spec: dict[str, Any], run: Run, whole: Any, tmp_path: Path, kill: tuple[str, int]
) -> None:
    killed = run(spec, tmp_path / "model", kill=kill)
    assert killed.status == -signal.SIGKILL
    resumed_like(whole, spec, run, tmp_path, tmp_path / "model", killed)


def test_log_line_over_steps_before_and_after_a_crash_has_the_same_loss(
    spec: dict[str, Any], run: Run, tmp_path: Path
) -> None:
    spec["train"] |= {"log_every": 3, "stages": [{"name": "all", "steps": 6, "batch_size": 4, "accumulate": 2}]}
    whole = run(spec, tmp_path / "whole")
    run(spec, tmp_path / "model", kill=("all", 5))
    again = run(spec, tmp_path / "model", resume=True)
    assert again.said[0].endswith("stage00-step00000004")
    assert again.losses == {("all", 6): whole.losses["all", 6]}


@pytest.mark.parametrize(
    "lora", [{"dropout": 0.2}, {"dora": True}, {"merge": False}, {"bits": 4}], ids=lambda options: next(iter(options))
)
@pytest.mark.parametrize("kill", [("first", 3), ("second", 1)])
def test_killed_while_adapters_train(
    spec: dict[str, Any], run: Run, tmp_path: Path, lora: dict[str, Any], kill: tuple[str, int]
) -> None:
    if "bits" in lora:
        pytest.importorskip("bitsandbytes")
    spec["train"]["stages"][0]["lora"] = {"r": 2, **lora}
    whole = run(spec, tmp_path / "whole")
    assert whole.status == 0, whole.error
    killed = run(spec, tmp_path / "model", kill=kill)
    assert killed.status == -signal.SIGKILL
    resumed_like(whole, spec, run, tmp_path, tmp_path / "model", killed)


def test_killed_before_writes(spec: dict[str, Any], run: Run, whole: Any, tmp_path: Path) -> None:
    """A sample of the boundaries; the next test has them all."""
    for kill in range(4, whole.boundaries, 13):
        check_boundary(spec, run, whole, tmp_path, kill)


@pytest.mark.slow
def test_killed_before_every_write(spec: dict[str, Any], run: Run, whole: Any, tmp_path: Path) -> None:
    for kill in range(1, whole.boundaries - 3):  # the first run of all also wrote the cache of `datasets`: four more
        check_boundary(spec, run, whole, tmp_path, kill)


def check_boundary(spec: dict[str, Any], run: Run, whole: Any, tmp_path: Path, kill: int) -> None:
    """Die before an fsync or a rename; of a file that was not yet synced, half is lost."""
    output = tmp_path / f"killed{kill}"
    killed = run(spec, output, kill=kill, tear=True)
    assert killed.status == -signal.SIGKILL
    left = [path.parent for path in sorted(output.glob("checkpoints/stage*/manifest.json"))]
    again = resumed_like(whole, spec, run, tmp_path, output, killed)
    told = next(line for line in again.said if not line.startswith("skipped"))
    if (output / "manifest.json").is_file() and not again.losses:
        assert told in (f"this run is complete: {output}", f"resuming from {left[-1]}")
    elif left:  # what was saved is used, not trained again
        assert told == f"resuming from {left[-1]}"
    else:
        assert told == f"nothing to resume in {output}: starting from the beginning"
