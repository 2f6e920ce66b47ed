"""Which checkpoint a run goes on from, which ones stay, and what is refused."""

import json
import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit

Run = Callable[..., Any]


def names(output: Path) -> list[str]:
    return sorted(path.name for path in (output / "checkpoints").glob("stage*"))


@pytest.fixture
def spec(spec: dict[str, Any]) -> dict[str, Any]:
    """One stage of six steps, a checkpoint after each."""
    spec["train"]["save_every"] = 1
    spec["train"]["stages"] = [{"name": "all", "steps": 6, "batch_size": 4, "lr": 0.01}]
    return spec


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_saves_and_leaves_with_its_code(
    spec: dict[str, Any], run: Run, tmp_path: Path, number: int, code: int
) -> None:
    spec["train"]["save_every"] = None
    whole, output = run(spec, tmp_path / "whole"), tmp_path / "model"
    stopped = run(spec, output, signal=("all", 3, number))
    assert stopped.status == code
    path = output / "checkpoints" / "stage00-step00000003"
    assert stopped.said[-2:] == [
        f"interrupted at step 3 of stage all: saved {path.resolve()}; resume goes on from it",
        stopped.said[-1],
    ]
    assert not (output / "manifest.json").exists()
    again = run(spec, output, resume=True)
    assert again.said[0] == f"resuming from {path}"
    assert {**stopped.losses, **again.losses} == whole.losses
    assert (output / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_no_more_checkpoints_are_kept_than_asked_for(spec: dict[str, Any], run: Run, tmp_path: Path) -> None:
    spec["train"]["keep"] = 3
    assert run(spec, tmp_path / "model").status == 0
    assert names(tmp_path / "model") == [f"stage00-step0000000{step}" for step in (3, 4, 5)]


def test_damaged_checkpoint_is_named_and_the_one_before_is_used(spec: dict[str, Any], run: Run, tmp_path: Path) -> None:
    whole, output = run(spec, tmp_path / "whole"), tmp_path / "model"
    killed = run(spec, output, kill=("all", 5))
    assert names(output) == ["stage00-step00000003", "stage00-step00000004"]
    damaged = output / "checkpoints" / "stage00-step00000004" / "optimizer.safetensors"
    raw = bytearray(damaged.read_bytes())
    raw[-1] ^= 1
    damaged.write_bytes(raw)
    again = run(spec, output, resume=True)
    assert again.said[:2] == [
        f"skipped {damaged.parent}: {damaged} is damaged: its SHA-256 is not that of the manifest; "
        "restore it from a copy",
        f"resuming from {output / 'checkpoints' / 'stage00-step00000003'}",
    ]
    assert {**killed.losses, **again.losses} == whole.losses


def test_torn_checkpoints_are_reported_and_never_chosen(spec: dict[str, Any], run: Run, tmp_path: Path) -> None:
    output = tmp_path / "model"
    run(spec, output, kill=("all", 4))
    folder = output / "checkpoints"
    shutil.copytree(folder / "stage00-step00000003", folder / "stage00-step00000005")
    (folder / "stage00-step00000005" / "manifest.json").unlink()
    shutil.copytree(folder / "stage00-step00000003", folder / ".stage00-step00000006.writing-1")
    again = run(spec, output, resume=True)
    assert again.said[:3] == [
        f"skipped {folder / '.stage00-step00000006.writing-1'}: it was never finished",
        f"skipped {folder / 'stage00-step00000005'}: {folder / 'stage00-step00000005'} is not a saved mmkit model: "
        "it has no manifest.json",
        f"resuming from {folder / 'stage00-step00000003'}",
    ]
    assert again.status == 0


def test_checkpoint_of_another_spec_is_refused_with_what_differs(
    spec: dict[str, Any], run: Run, tmp_path: Path
) -> None:
    output = tmp_path / "model"
    run(spec, output, kill=("all", 4))
    spec["train"]["stages"][0] |= {"lr": 0.02, "accumulate": 2}
    spec["backbone"]["dropout"] = 0.0
    spec["train"] |= {"log_every": 2, "keep": 5}  # these may change
    again = run(spec, output, resume=True)
    assert again.status == 2
    assert again.error == (
        f"CheckpointError: {output / 'checkpoints' / 'stage00-step00000003'} is of another spec:\n"
        "  backbone.dropout: 0.1 there, 0.0 here\n"
        "  train.stages[0].lr: 0.01 there, 0.02 here\n"
        "  train.stages[0].accumulate: 1 there, 2 here\n"
        "fix: set these back, or train without resume, or into another folder (train.output)"
    )


def test_complete_run_is_not_trained_again(spec: dict[str, Any], run: Run, tmp_path: Path) -> None:
    output = tmp_path / "model"
    run(spec, output)
    again = run(spec, output, resume=True)
    assert (again.status, again.said, again.losses) == (0, [f"this run is complete: {output}"], {})
    assert not any("unfinished" in line for line in run(spec, output, kill=("all", 1)).said)


def test_checkpoints_of_an_earlier_run_in_the_folder_do_not_count(
    spec: dict[str, Any], run: Run, tmp_path: Path
) -> None:
    output = tmp_path / "model"
    run(spec, output, kill=("all", 5))
    given_up = run(spec, output, kill=("all", 1))  # a run of its own, dead before its first checkpoint
    assert given_up.said[0] == (
        f"{output / 'checkpoints'} has an unfinished run, which had reached stage00-step00000004; this is a new one, and only it "
        "can be resumed from now on (--resume goes on with an unfinished run instead)"
    )
    again = run(spec, output, resume=True)
    assert again.said[0] == f"nothing to resume in {output}: starting from the beginning"
    run(spec, output, kill=("all", 2))
    assert names(output) == ["stage00-step00000001"]


def test_disk_full_while_saving_keeps_the_checkpoint_before(spec: dict[str, Any], run: Run, tmp_path: Path) -> None:
    spec["train"]["save_every"] = 2
    whole, output = run(spec, tmp_path / "whole"), tmp_path / "model"
    run(spec, output, kill=("all", 3))
    size = (output / "checkpoints" / "stage00-step00000002" / "optimizer.safetensors").stat().st_size

    def less_space() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - 100, size - 100))

    full = run(spec, output, resume=True, before=less_space)
    assert full.status == 2
    assert full.error == (
        f"CheckpointError: cannot write {(output / 'checkpoints' / 'stage00-step00000004').resolve()}: Error while "
        "serializing: I/O error: File too large (os error 27); what was saved before is untouched; free some space, or "
        "choose another folder"
    )
    assert names(output) == ["stage00-step00000002"]
    again = run(spec, output, resume=True)
    assert again.said[0] == f"resuming from {output / 'checkpoints' / 'stage00-step00000002'}"
    assert again.losses == {place: losses for place, losses in whole.losses.items() if place[1] > 2}


@pytest.mark.parametrize(("streaming", "workers"), [(True, 0), (False, 2), (True, 2)])
def test_streams_and_workers_resume_exactly(
    spec: dict[str, Any], run: Run, tmp_path: Path, streaming: bool, workers: int
) -> None:
    for source in spec["data"]["train"]:
        source["streaming"] = streaming
    spec["data"]["workers"] = workers
    whole, output = run(spec, tmp_path / "whole"), tmp_path / "model"
    assert whole.status == 0, whole.error
    killed = run(spec, output, kill=("all", 4))
    again = run(spec, output, resume=True)
    assert {**killed.losses, **again.losses} == whole.losses
    assert min(at for _, at in again.losses) == 4


def test_checkpoint_is_a_model_that_loads(spec: dict[str, Any], run: Run, tmp_path: Path) -> None:
    run(spec, tmp_path / "model", kill=("all", 4))
    model = mmkit.load(tmp_path / "model" / "checkpoints" / "stage00-step00000003", verify=True)
    assert model.predict("mood", {"text": "a red thing"})["label"] in ("cold", "warm")


def test_nothing_in_a_checkpoint_is_pickled(spec: dict[str, Any], run: Run, tmp_path: Path) -> None:
    run(spec, tmp_path / "model", kill=("all", 2))
    files = [p for p in (tmp_path / "model" / "checkpoints").rglob("*") if p.is_file()]
    assert {p.suffix for p in files} == {".json", ".safetensors"}
    for path in files:
        if path.suffix == ".json":
            json.loads(path.read_text())


def test_saving_leaves_other_files_of_the_folder_alone(spec: dict[str, Any], run: Run, tmp_path: Path) -> None:
    output = tmp_path / "model"
    run(spec, output)
    (output / "notes.txt").write_text("mine")
    run(spec, output)
    assert (output / "notes.txt").read_text() == "mine"
    assert "checkpoints" in os.listdir(output)
