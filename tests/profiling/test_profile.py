"""``mmkit profile``: what is attributed to whom, that it sums up, and the trace."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import profile, record_function

import mmkit
from mmkit.errors import MmkitError, SpecError
from mmkit.profiling.account import Owners, account
from mmkit.profiling.regions import BACKWARD, regions
from mmkit.profiling.run import Profile, profile_training
from mmkit.profiling.trace import backward_regions, write_trace


@pytest.fixture
def spec(mood: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Two tasks of which one generates, long enough for five steps to be measured."""
    mood["backbone"] = {"use": "transformer", "dim": 16, "layers": 1, "heads": 2}
    mood["tasks"]["echo"] = {"input": "{text}", "output": "{text}", "head": {"use": "generate", "max_new_tokens": 4}}
    mood["data"]["train"] += [{**mood["data"]["train"][0], "task": "echo"}]
    mood["train"]["output"] = str(tmp_path / "model")
    mood["train"]["stages"] = [
        {"name": "first", "steps": 20, "batch_size": 4, "accumulate": 2},
        {"name": "heads", "steps": 2, "batch_size": 4, "train": ["mood.head"]},
        {"name": "short", "steps": 1, "batch_size": 4},
    ]
    mood["train"]["save_every"] = 1
    return mood


def measured(spec: Any, **options: Any) -> Profile:
    return profile_training(spec, **{"say": lambda line: None, **options})


def test_operations_of_a_backward_pass_go_to_the_region_of_their_forward_pass() -> None:
    wide, narrow = nn.Linear(64, 256), nn.Linear(256, 4)

    def step() -> None:
        with record_function("wide"):
            hidden = wide(torch.randn(512, 64)).relu()
            with record_function("narrow"):
                loss = narrow(hidden).sum()
        with record_function(BACKWARD):
            loss.backward()

    with profile(profile_memory=True) as recorded:
        step()
        step()
    found = account(recorded.events(), ("wide", "narrow", BACKWARD), cuda=False)
    assert set(found.forward) == set(found.backward) == {"wide", "narrow"}
    spans = [event.time_range.elapsed_us() for event in recorded.events() if event.name == "wide"]
    assert sum(found.forward.values()) == pytest.approx(sum(spans))
    engine = [e for e in recorded.events() if e.name.startswith("autograd::engine") and e.cpu_parent.name == BACKWARD]
    assert sum(found.backward.values()) == pytest.approx(sum(event.time_range.elapsed_us() for event in engine))
    owners = [(event.name.split()[-1], found.owners(event.sequence_nr, "")) for event in engine]
    assert sorted(pair for pair in owners if pair[1]) == sorted(
        2
        * [
            *(("SumBackward0", "narrow"), ("AddmmBackward0", "narrow"), ("TBackward0", "narrow")),
            *(("ReluBackward0", "wide"), ("AddmmBackward0", "wide"), ("TBackward0", "wide")),
        ]
    )
    assert found.kept["wide"] == 2 * 4 * 512 * (64 + 256)  # the input and what relu gave; what it was given is gone
    assert 0 <= found.kept["narrow"] < 2 * 4 * 512 * 4


def test_operations_without_a_number_go_with_those_before_them() -> None:
    owners = Owners([(7, 2.0, "b"), (3, 1.0, "a"), (7, 1.5, "a")])
    assert [owners(number, "z") for number in (2, 3, 6, 7, 900, -1)] == ["z", "a", "a", "b", "b", "z"]


def test_backward_regions_join_what_belongs_together_within_one_pass() -> None:
    def op(ts: float, dur: float, number: int | None) -> dict[str, Any]:
        args = {} if number is None else {"Sequence number": number}
        name = "autograd::engine::evaluate_function: X"
        return {"ph": "X", "name": name, "pid": 1, "tid": 2, "ts": ts, "dur": dur, "args": args}

    passes = [{"ph": "X", "name": BACKWARD, "pid": 1, "tid": 1, "ts": at, "dur": 90} for at in (0, 100)]
    ops = [op(10, 5, 8), op(11, 1, 3), op(20, 5, None), op(30, 5, 3), op(110, 5, 3)]
    made = backward_regions([*passes, *ops], Owners([(3, 0.0, "a"), (8, 0.0, "b")]))
    assert [(one["name"], one["ts"], one["dur"]) for one in made] == [
        ("b backward", 10, 15),
        ("a backward", 30, 5),
        ("a backward", 110, 5),
    ]


def test_parts_sum_up_to_the_step_and_nothing_but_the_trace_is_saved(spec: dict[str, Any], tmp_path: Path) -> None:
    before = set(tmp_path.rglob("*"))
    found = measured(spec, steps=2)
    assert (found.stage, found.steps, found.device) == ("first", 2, "cpu")
    assert [part.name for part in found.parts] == [
        *("backbone", "mood.head", "echo.head", "stream", "data", "clipping", "optimizer", "other"),
    ]
    assert sum(part.time for part in found.parts) == pytest.approx(found.step)
    parts = {part.name: part for part in found.parts}
    assert all(parts[name].forward > 0 for name in ("backbone", "mood.head", "echo.head", "stream"))
    assert all(parts[name].backward > 0 for name in ("backbone", "mood.head"))
    assert all(parts[name].other > 0 for name in ("data", "clipping", "optimizer"))
    assert parts["backbone"].training == pytest.approx(3 * parts["backbone"].weights, rel=0.01)
    assert parts["backbone"].kept > 0
    assert parts["backbone"].time == max(part.time for part in found.parts if part.name not in ("data", "other"))
    assert found.bare is not None
    assert set(tmp_path.rglob("*")) - before == {found.trace}
    assert found.trace == tmp_path / "model.trace.json"
    events = json.loads(found.trace.read_text())["traceEvents"]
    names = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert {"backbone", "mood.head", "echo.head", "data", "backward", "backbone backward", "mood.head backward"} <= {
        *names
    }
    assert names.count("stream") == 4  # two steps of two passes


def test_a_stage_that_is_short_or_trains_little_is_measured_too(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["train"]["checkpoint_activations"] = True
    heads = measured(spec, stage="heads", output=tmp_path / "new" / "trace.json")
    assert (heads.stage, heads.steps, heads.bare) == ("heads", 1, None)
    parts = {part.name: part for part in heads.parts}
    assert parts["backbone"].backward == parts["backbone"].training == 0
    assert parts["mood.head"].backward > 0
    assert heads.trace == tmp_path / "new" / "trace.json"
    short = measured(spec, stage="short")
    assert (short.stage, short.steps, short.bare) == ("short", 1, None)
    assert sum(part.time for part in short.parts) == pytest.approx(short.step)


def test_regions_leave_the_model_as_it_was(mood: dict[str, Any]) -> None:
    model = mmkit.build(mood, fit={"text": ["a film"]})
    trainer = SimpleNamespace(get_batch_samples=len, _clip_grad_norm=len, accelerator=SimpleNamespace(backward=len))
    before = [dict(vars(one)) for one in (model, *model.nodes().values())]
    with regions(model, trainer) as names:  # type: ignore[arg-type]
        assert names == ["stream", "optimizer", "backbone", "mood.head", "data", "clipping", "backward"]
        assert "loss" in vars(model.nodes()["mood.head"])
        with profile() as recorded:
            model.nodes()["backbone"].embed(torch.zeros(2, dtype=torch.int64))
    assert "backbone" in {event.name for event in recorded.events()}
    assert [dict(vars(one)) for one in (model, *model.nodes().values())] == before


def test_a_stage_that_is_not_there_and_a_spec_without_training_are_refused(
    spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MmkitError) as caught:
        measured(spec, stage="fist")
    assert str(caught.value) == "there is no stage 'fist': did you mean 'first'?"
    with pytest.raises(SpecError) as wrong:
        measured({**spec, "train": None})
    assert str(wrong.value) == (
        "the spec has 1 problem:\n  (top): the spec has no train section\n    fix: add train: {stages: [...]}"
    )
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(MmkitError) as caught:
        measured(spec)
    assert str(caught.value) == "mmkit profile runs in one process; start it without torchrun or accelerate launch"


def test_the_trace_is_what_torch_exports_and_more(tmp_path: Path) -> None:
    with profile() as recorded, record_function("a"):
        torch.zeros(3) + 1
    write_trace(recorded, Owners([]), tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())
    assert {"aten::add", "a"} <= {event["name"] for event in trace["traceEvents"]}
