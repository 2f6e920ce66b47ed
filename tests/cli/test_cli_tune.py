"""``mmkit tune``: the table, JSON, and wrong input."""

import json
from pathlib import Path

import pytest
import yaml

from mmkit.tuning.run import TuneResult
from mmkit.tuning.study import TrialResult
from tests.cli.conftest import SPEC, Run

SPACE = {"train.stages[0].lr": {"log_uniform": [0.0001, 0.1]}}


def searched(path: Path) -> Path:
    data = {**SPEC["data"], "valid": [{"task": "mood", "path": "rows.jsonl"}]}
    path.write_text(yaml.safe_dump({**SPEC, "data": data, "tune": SPACE}, sort_keys=False))
    return path


def test_tune_prints_every_trial_and_where_the_best_is(run: Run, spec: Path, tmp_path: Path) -> None:
    search = tmp_path / "search"
    done = run("tune", searched(spec), "--output", search, "--trials", 2, "--metric", "mood.accuracy", "--seed", 3)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].split() == ["trial", "state", "mood.accuracy", "train.stages[0].lr"]
    assert lines[2].split()[:2] == ["0", "complete"]
    assert lines[3].split()[:2] == ["1", "complete"]
    assert lines[4] == f"best spec: {search / 'best.yaml'}"
    assert lines[5].startswith(f"its model: {search / 'trials' / '000'}")
    assert f"trial 0: {next(iter(SPACE))} = 0.001\n" in done.err
    done = run("tune", spec, "--output", search, "--trials", 2, "--metric", "mood.accuracy", "--json")
    assert done.err == f"going on after 2 of 2 trials in {search}\n"
    found = json.loads(done.out)
    assert found["metric"] == "mood.accuracy"
    assert [trial["state"] for trial in found["trials"]] == ["complete"] * 2
    assert found["best"]["values"].keys() == SPACE.keys()
    assert Path(found["model"], "model.safetensors").is_file()


def test_tune_refuses_a_wrong_spec_before_anything_is_written(run: Run, spec: Path, tmp_path: Path) -> None:
    searched(spec).write_text(spec.read_text().replace("stages[0].lr", "stages[1].lr"))
    line = next(n for n, text in enumerate(spec.read_text().splitlines(), 1) if "stages[1]" in text)
    done = run("tune", spec, "--output", tmp_path / "search")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: the spec has 1 problem:\n"
        f"  {spec}:{line}:3: tune.train.stages[1].lr: 'train.stages[1].lr': train.stages has 1 entries, so there is no [1] "
        "(the first is [0])\n"
    )
    assert not (tmp_path / "search").exists()


def test_reasons_of_failed_trials_stand_in_the_table(run: Run, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mmkit.tuning.run as tuning

    best = TrialResult(1, "complete", 0.25, {"a.b": 0.123456})
    trials = (
        TrialResult(0, "failed", None, {"a.b": 7}, "out of memory\nmore"),
        best,
        TrialResult(2, "pruned", 1.0, {}),
    )
    found = TuneResult("loss", trials, best, Path("s/best.yaml"), Path("s/trials/0001"))
    monkeypatch.setattr(tuning, "tune", lambda *_, **__: found)
    rows = [line.split() for line in run("tune", spec).out.splitlines()]
    assert rows[0] == ["trial", "state", "loss", "a.b", "reason"]
    assert rows[2:] == [
        ["0", "failed", "7", "out", "of", "memory"],
        ["1", "complete", "(best)", "0.2500", "0.1235"],
        ["2", "pruned", "1.0000"],
        ["best", "spec:", "s/best.yaml"],
        ["its", "model:", "s/trials/0001"],
    ]
