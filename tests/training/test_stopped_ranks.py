"""One of several processes fails or dies: all of them stop, one of them says why, and the run resumes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mmkit
from mmkit.training.trainer import PackedTrainer

Run = Callable[..., Any]
REST = (
    "so the others stop; what was saved before is untouched: the same command with --resume goes on from the newest "
    "checkpoint"
)


@pytest.fixture
def spec(spec: dict[str, Any]) -> dict[str, Any]:
    spec["train"]["stages"] = [{"name": "all", "steps": 6, "batch_size": 4, "lr": 0.01}]
    return spec


def speaks(ran: list[Any]) -> list[str]:
    """What is said, by whichever rank failed first."""
    return [one.error for one in ran if one.error and not one.quiet]


def at_step_three(work: Callable[[PackedTrainer], None]) -> Callable[[], None]:
    """Do something in the third training step of this process."""

    def prepare() -> None:
        training_step = PackedTrainer.training_step

        def changed(self: PackedTrainer, *given: Any, **more: Any) -> Any:
            if self.state.global_step == 2:
                work(self)
            return training_step(self, *given, **more)

        PackedTrainer.training_step = changed  # type: ignore[method-assign]

    return prepare


@pytest.mark.parametrize("parallel", ["ddp", "fsdp2"])
def test_others_name_the_rank_that_was_killed_and_how(
    spec: dict[str, Any], launch: Run, tmp_path: Path, parallel: str
) -> None:
    spec["train"]["parallel"] = parallel
    first, second = launch(spec, tmp_path / "model", rank1={"kill": ("all", 3)})
    assert (first.status, second.status) == (2, -signal.SIGKILL)
    before, _, after = first.error.partition("(process ")
    assert before == "TrainingError: rank 1 "
    assert after.partition(")")[2] == f" was killed by SIGKILL, {REST}"
    assert not first.quiet


def test_the_first_rank_may_be_the_one(spec: dict[str, Any], launch: Run, tmp_path: Path) -> None:
    """Its process holds the notes of all where the launcher does not."""
    first, second = launch(spec, tmp_path / "model", rank0={"kill": ("all", 3)})
    assert (first.status, second.status) == (-signal.SIGKILL, 2)
    assert second.error == f"TrainingError: rank 0 is gone, and the notes of the others with it, {REST}"


def test_an_unexpected_error_of_one_rank_is_the_reason_of_the_others(
    spec: dict[str, Any], launch: Run, tmp_path: Path
) -> None:
    def fail(trainer: PackedTrainer) -> None:
        raise ValueError("no such luck")

    first, second = launch(spec, tmp_path / "model", rank1={"before": at_step_three(fail)})
    assert (first.status, second.status) == (2, 3)
    assert first.error == f"TrainingError: rank 1 stopped with ValueError: no such luck, {REST}"
    assert second.error.endswith("ValueError: no such luck\n")


def test_a_bad_row_of_one_rank_stops_all_with_its_address(spec: dict[str, Any], launch: Run, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(rows.read_text() + '{"text": "a row", "label": "wrm"}\n')
    spec["data"]["train"] = [{"task": "mood", "path": str(rows)}]
    spec["train"]["stages"] = [{"name": "all", "epochs": 1, "batch_size": 2}]
    ran = launch(spec, tmp_path / "model")
    assert [one.status for one in ran] == [2, 2]
    assert speaks(ran) == [
        f"DataError: {rows}:61: label 'wrm' is not in the head's labels; did you mean 'warm'? "
        "(data.on_bad_sample: skip would leave such rows out)"
    ]


def test_a_loss_that_is_no_number_on_one_rank_stops_all_with_its_samples(
    spec: dict[str, Any], launch: Run, tmp_path: Path
) -> None:
    def spoil(trainer: PackedTrainer) -> None:
        with torch.no_grad():
            trainer.net.nodes()["mood.head"].output.bias.fill_(torch.nan)  # type: ignore[operator]

    spec["data"]["train"] = spec["data"]["train"][:1]
    ran = launch(spec, tmp_path / "model", rank1={"before": at_step_three(spoil)})
    assert [one.status for one in ran] == [2, 2]
    (said,) = speaks(ran)
    assert said.startswith(
        f"TrainingError: the loss of task mood is nan at step 3; samples: {tmp_path / 'rows.jsonl'}:"
    )
    assert said.endswith("; the last saved model is untouched; try a lower lr, or look at these rows")


def test_what_the_first_rank_cannot_write_stops_all(spec: dict[str, Any], launch: Run, tmp_path: Path) -> None:
    blocked = tmp_path / "model"
    blocked.write_text("a file where the folder should be")
    ran = launch(spec, blocked)
    assert [one.status for one in ran] == [2, 2]
    (said,) = speaks(ran)
    assert said.startswith("CheckpointError: cannot write ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"batch_size": 3},
            "SpecError: the spec has 1 problem:\n"
            "  train.stages[0].batch_size: 3 samples a step cannot be shared evenly by 2 processes\n"
            "    fix: make batch_size × accumulate a multiple of 2, or start another number of processes",
        ),
        (
            {"lora": {"bits": 4}},
            "SpecError: the spec has 1 problem:\n"
            "  train.stages[0].lora.bits: weights in 4 bits cannot be sharded\n"
            "    fix: use parallel: ddp",
        ),
        ({}, "DataError: data.train has 1 row for 2 processes; start at most 1"),
    ],
    ids=["uneven", "bits", "rows"],
)
def test_what_cannot_be_shared_is_said_once(
    spec: dict[str, Any], launch: Run, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    spec["train"]["parallel"] = "fsdp2"
    spec["train"]["stages"][0] |= change
    if not change:
        spec["data"]["train"] = [{**spec["data"]["train"][0], "limit": 1}]
    ran = launch(spec, tmp_path / "model")
    assert [one.status for one in ran] == [2, 2]
    assert speaks(ran) == [message]


def test_parallel_without_several_processes_says_how_to_start_them(
    spec: dict[str, Any], problems: Any, tmp_path: Path
) -> None:
    spec["train"]["parallel"] = "ddp"
    with pytest.raises(mmkit.SpecError) as caught:
        mmkit.train(spec, output=tmp_path / "model")
    assert [str(problem) for problem in caught.value.problems] == [
        "train.parallel: ddp needs several processes, and this run has one\n"
        "    fix: start it by torchrun --nproc-per-node 2 -m mmkit train SPEC (or accelerate launch), or leave parallel out"
    ]
    spec["train"]["parallel"] = "fsdp"
    assert problems(spec) == ["train.parallel: Input should be 'ddp' or 'fsdp2' (got 'fsdp')"]


def test_command_under_torchrun_ends_when_a_rank_is_killed_and_resumes(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["train"] |= {"save_every": 1, "log_every": 1}
    spec["train"]["stages"][0]["steps"] = 5000
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command = [*launcher, "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "-m", "mmkit"]
    with subprocess.Popen(
        [*command, "train", "spec.json", "--output", "model"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "step 3/5000" in line:
                os.kill(rank_process(process.pid, "1"), signal.SIGKILL)
                break
        killed = time.monotonic()
        said = process.stdout.read()
    assert process.returncode == 1, said
    assert time.monotonic() - killed < 60
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: rank 1 (process ")
    assert errors[0].partition(") ")[2] in (
        f"was killed by SIGKILL, {REST}",
        f"is gone without a word, as after kill -9 or when memory runs out, {REST}",
    )
    spec["train"]["stages"][0]["steps"] = 5000
    stopped: list[int] = []

    def stop(stage: str, at: int, of: int, figures: dict[str, float]) -> None:
        stopped.append(at)
        raise KeyboardInterrupt

    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        mmkit.train(spec, output=tmp_path / "model", resume=True, say=lines.append, step=stop)
    assert lines[0].startswith(f"resuming from {tmp_path / 'model' / 'checkpoints' / 'stage00-step0000000'}")
    assert stopped[0] >= 3


def rank_process(launcher: int, rank: str) -> int:
    """The process of a rank, among the launcher's children."""
    for child in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        if f"\0RANK={rank}\0" in "\0" + Path(f"/proc/{child}/environ").read_text():
            return int(child)
    raise AssertionError(f"no rank {rank} among the children of {launcher}")
