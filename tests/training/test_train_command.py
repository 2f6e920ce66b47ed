"""``mmkit train``: a signal's exit code, and ``--resume``."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import mmkit
from mmkit.cli.app import app


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_interrupted_command_leaves_with_the_signals_code_and_resumes(
    spec: dict[str, Any], tmp_path: Path, number: int, code: int
) -> None:
    """The signal goes to the whole process group, data workers included, as from a terminal or a service manager."""
    spec["train"]["save_every"] = None
    spec["data"]["workers"] = 2
    spec["train"]["stages"] = [{"name": "all", "steps": 3000, "batch_size": 2, "lr": 0.01}]
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    command = [sys.executable, "-m", "mmkit", "train", "spec.json", "--output", "model"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if b"step 2/3000" in line:
                os.killpg(process.pid, number)
                break
        said = process.stdout.read().decode()
    assert process.returncode == code, said
    assert "resume goes on from it" in said
    assert "Traceback" not in said
    found = sorted(path.name for path in (tmp_path / "model" / "checkpoints").glob("stage*"))
    assert len(found) == 1
    spec["train"]["stages"][0]["lr"] = 0.02
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    done = CliRunner().invoke(
        app, ["train", str(tmp_path / "spec.json"), "--output", str(tmp_path / "model"), "--resume"]
    )
    assert isinstance(done.exception, mmkit.CheckpointError)
    assert "train.stages[0].lr: 0.01 there, 0.02 here" in str(done.exception)
