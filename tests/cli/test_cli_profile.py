"""``mmkit profile`` on the command line."""

import json
from pathlib import Path

import yaml

from tests.cli.conftest import SPEC, Run

NODES = ["image.encoder", "image.adapter", "backbone", "caption.head", "mood.head", "shade.head"]


def test_profile_prints_a_table_or_json_and_writes_the_trace(run: Run, spec: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    train = {"stages": [{"name": "all", "steps": 9, "batch_size": 4}]}
    spec.write_text(yaml.safe_dump({**SPEC, "train": train}, sort_keys=False))
    done = run("profile", spec, "--steps", 2, "--output", trace)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].split() == [
        "component",
        "forward",
        "ms",
        "backward",
        "ms",
        "ms",
        "share",
        "weights",
        "MB",
        "training",
        "MB",
        "kept",
        "MB",
    ]
    names = [*NODES, "stream", "data", "clipping", "optimizer", "other"]
    assert [line.split()[0] for line in lines[2 : 2 + len(names)]] == names
    assert lines[3 + len(names)].startswith("total")
    assert "100.0%" in lines[3 + len(names)]
    assert lines[-3].startswith("a step of stage all on cpu, mean of 2; without the profiler ")
    assert lines[-1].endswith(f" MB held; trace: {trace}")
    assert trace.is_file()
    assert not (tmp_path / "runs").exists()
    done = run("profile", spec, "--steps", 1, "--stage", "all", "--output", trace, "--json")
    found = json.loads(done.out)
    assert found["steps"] == 1
    assert [part["name"] for part in found["parts"]] == names


def test_profile_refuses_wrong_input(run: Run, spec: Path, tmp_path: Path) -> None:
    done = run("profile", spec, "--stage", "al")
    assert (done.code, done.out, done.err) == (2, "", "error: there is no stage 'al': did you mean 'all'?\n")
    spec.write_text(spec.read_text().replace("steps: 2", "stepz: 2"))
    assert "unknown key 'stepz': did you mean 'steps'?" in run("profile", spec).err
    assert not (tmp_path / "runs").exists()
