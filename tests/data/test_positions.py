"""Where a loader is can be saved, and going on from there gives the very batches that an uninterrupted run has."""

import hashlib
import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from rows import BATCHINGS, made, same, tensors
from safetensors.torch import save

from mmkit.errors import DataError
from mmkit.ragged import Ragged


@pytest.mark.parametrize("streaming", [False, True], ids=["indexed", "streamed"])
@pytest.mark.parametrize("batching", BATCHINGS)
def test_batches_after_a_saved_position_are_bit_equal_with_any_number_of_workers(
    make: Any, batching: str, streaming: bool
) -> None:
    one, two = make(streaming), make(streaming, workers=2)
    running = made(one, batching)
    batches, states = [], [running.state_dict()]
    for batch in islice(running, 30):
        batches.append(batch)
        states.append(json.loads(json.dumps(running.state_dict())))
    for workers, position in ((two, 0), (one, 1), (two, 7), (one, 13), (two, 24)):
        again = made(workers, batching)
        again.load_state_dict(states[position])
        assert again.state_dict() == states[position]
        for expected, state, got in zip(batches[position:], states[position + 1 :], again, strict=False):
            assert same(got, expected)
            assert again.report.state() == state["report"]


@pytest.mark.parametrize("batching", BATCHINGS)
def test_a_fresh_process_goes_on_where_another_stopped(make: Any, tmp_path: Path, batching: str) -> None:
    running = made(make(True), batching)
    batches = iter(running)
    for _ in range(9):
        next(batches)
    (tmp_path / "state.json").write_text(json.dumps(running.state_dict()))
    expected = [save(tensors(batch)) for batch in islice(batches, 6)]
    code = f"""
import hashlib, json, sys
from itertools import islice
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parent / "support")!r}]
import rows
folder = Path({str(tmp_path)!r})
first = {{"task": "mood", "path": str(folder / "a.jsonl")}}
second = {{"task": "echo", "path": str(folder / "b.jsonl"), "weight": 2.0, "streaming": True, "shuffle_buffer": 16}}
running = rows.made(rows.build(rows.spec_of([first, second])), {batching!r})
running.load_state_dict(json.loads((folder / "state.json").read_text()))
for batch in islice(running, 6):
    sys.stdout.write(hashlib.sha256(rows.save(rows.tensors(batch))).hexdigest() + "\\n")
"""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [hashlib.sha256(data).hexdigest() for data in expected]


def test_preparing_leaves_the_global_randomness_as_it_was(make: Any) -> None:
    batches = iter(made(make(), "samples"))
    torch.manual_seed(5)
    before = torch.rand(3)
    torch.manual_seed(5)
    next(batches)
    assert torch.equal(torch.rand(3), before)


def test_starting_workers_draws_nothing_from_the_global_randomness(make: Any) -> None:
    torch.manual_seed(5)
    before = torch.rand(3)
    torch.manual_seed(5)
    next(iter(made(make(workers=1), "samples")))
    assert torch.equal(torch.rand(3), before)


def test_a_row_gets_other_noise_in_every_pass_stage_and_run(make: Any) -> None:
    seen: dict[tuple[Any, ...], list[bytes]] = {}
    for seed, index in ((0, 0), (1, 0), (0, 1)):
        running = made(make(), "samples", seed=seed, stage_index=index)
        for batch in islice(running, 150):
            if "sensor" in batch.items:
                values = batch.items["sensor"]["values"]
                assert isinstance(values, Ragged)
                for owner, item in zip(batch.owners["sensor"], values.split(), strict=True):
                    seen.setdefault((batch.addresses[owner],), []).append(item.numpy().tobytes())
    assert max(len(drawn) for drawn in seen.values()) >= 6
    assert all(len(drawn) == len(set(drawn)) for drawn in seen.values())


def test_iterating_twice_starts_at_the_beginning_twice(make: Any) -> None:
    running = made(make(), "tokens")
    first = [batch.addresses for batch in islice(running, 4)]
    assert [batch.addresses for batch in islice(running, 4)] == first


@pytest.mark.parametrize("batching", BATCHINGS)
def test_a_saved_position_does_not_move_with_the_loader(make: Any, batching: str) -> None:
    running = made(make(), batching)
    for _ in islice(batches := iter(running), 9):
        pass
    state = running.state_dict()
    before = json.dumps(state)
    for _ in islice(batches, 9):
        pass
    assert json.dumps(state) == before
    assert json.dumps(running.state_dict()) != before


def test_the_position_of_other_sources_is_refused(make: Any) -> None:
    running = made(make(), "samples")
    state = running.state_dict()
    state["draws"] = {**state["draws"], "sources": state["draws"]["sources"][:1]}
    with pytest.raises(DataError) as caught:
        running.load_state_dict(state)
    assert str(caught.value) == (
        "the saved position is of 1 sources, the spec names 2; resume with the spec that the run was started with"
    )
