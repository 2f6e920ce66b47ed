"""A run that has to stop says the whole reason, exits so that scripts see it, and keeps its last checkpoint."""

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mmkit
from mmkit.cli.app import main

Run = Callable[..., Any]


@pytest.fixture
def spec(spec: dict[str, Any]) -> dict[str, Any]:
    """One task, one stage of four steps, a checkpoint after each."""
    spec["data"]["train"] = spec["data"]["train"][:1]
    spec["train"] |= {"save_every": 1, "stages": [{"name": "all", "steps": 4, "batch_size": 2, "accumulate": 2}]}
    return spec


def trained(spec: dict[str, Any], output: Path) -> list[str]:
    said: list[str] = []
    mmkit.train(spec, output=output, say=said.append)
    return said


def test_out_of_memory_says_the_tokens_and_the_largest_sample_and_keeps_the_checkpoint(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    forward = mmkit.Model.forward

    def short(self: mmkit.Model, batch: Any, **more: Any) -> Any:
        seen.append(batch)
        if len(seen) == 6:  # the second pass of the third step
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has …")
        return forward(self, batch, **more)

    monkeypatch.setattr(mmkit.Model, "forward", short)
    with pytest.raises(mmkit.TrainingError) as caught:
        trained(spec, tmp_path / "model")
    lengths = seen[-1].stream_lengths.tolist()
    largest = seen[-1].addresses[lengths.index(max(lengths))]
    assert str(caught.value) == (
        "out of memory at step 3 of stage all: CUDA out of memory. Tried to allocate 2.00 GiB.\n"
        f"  the batch has {sum(lengths)} tokens in 2 samples; the largest is {largest} with {max(lengths)}\n"
        "  change one of: a smaller tokens_per_batch or batch_size (and a larger accumulate, for the same gradient), "
        "train.checkpoint_activations: true, train.precision: bf16, lora in place of whole weights; the last saved "
        "checkpoint is untouched"
    )
    monkeypatch.undo()
    said: list[str] = []
    mmkit.train(spec, output=tmp_path / "model", resume=True, say=said.append)
    assert said[0] == f"resuming from {tmp_path / 'model' / 'checkpoints' / 'stage00-step00000002'}"


def command(*line: str, limit: int) -> int:
    """Exit status of ``mmkit`` in a child that may write no file larger than so many bytes."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        code = 99
        try:
            main(line)
        except SystemExit as done:
            code = int(done.code or 0)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_full_disk_ends_the_command_with_one_and_the_whole_reason(
    spec: dict[str, Any], run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "model"
    run(spec, output, kill=("all", 3))
    checkpoint = output / "checkpoints" / "stage00-step00000002"
    before = {path.name: path.read_bytes() for path in checkpoint.rglob("*") if path.is_file()}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    line = ("train", str(tmp_path / "spec.json"), "--output", str(output), "--resume")
    code = command(*line, limit=(checkpoint / "optimizer.safetensors").stat().st_size - 100)
    said = capfd.readouterr().err
    assert code == 1
    assert said.splitlines()[-1] == (
        f"error: cannot write {output / 'checkpoints' / 'stage00-step00000003'}: Error while serializing: I/O error: "
        "File too large (os error 27); what was saved before is untouched; free some space, or choose another folder"
    )
    assert "Traceback" not in said
    assert {path.name: path.read_bytes() for path in checkpoint.rglob("*") if path.is_file()} == before
    assert not list((output / "checkpoints").glob(".*writing*"))
    assert mmkit.load(checkpoint, verify=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sample_longer_than_the_token_budget_stops_the_run_by_name(
    spec: dict[str, Any], tmp_path: Path, workers: int
) -> None:
    path = Path(spec["data"]["train"][0]["path"])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[7]["text"] = "long " * 20
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec["data"]["workers"] = workers
    spec["train"]["stages"][0] = {"name": "all", "epochs": 1, "tokens_per_batch": 60}
    with pytest.raises(mmkit.DataError) as caught:
        trained(spec, tmp_path / "model")
    assert str(caught.value) == (
        f"{path}:8: the sample has 100 tokens (100 of its input, 0 of its target), more than tokens_per_batch = 60; "
        "raise tokens_per_batch, or set long_samples: drop, truncate or split"
    )


@pytest.mark.parametrize(("choice", "done"), [("drop", "dropped"), ("truncate", "truncated"), ("split", "split")])
def test_long_samples_are_dropped_cut_or_split_as_the_stage_says_and_counted(
    spec: dict[str, Any], tmp_path: Path, choice: str, done: str
) -> None:
    path = Path(spec["data"]["train"][0]["path"])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for place in (7, 30):
        rows[place]["text"] = "long " * 20
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    stage = {"name": "all", "epochs": 1, "tokens_per_batch": 60, "lookahead": 2, "long_samples": choice}
    spec["train"]["stages"] = [stage]
    [told] = [line for line in trained(spec, tmp_path / "model") if "longer than" in line]
    share, _, rest = told.removeprefix("stage all: batches ").partition("% full; ")
    assert 50 < float(share) <= 100
    assert rest.startswith(f"2 samples longer than 60 tokens {done} (")
    assert sorted(rest.partition("(")[2].rstrip(")").split(", ")) == [f"{path}:31", f"{path}:8"]
