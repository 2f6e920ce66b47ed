"""The command as a process: it says where the page is, the page answers, and a signal ends it with its uploads."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import mmkit

SPEC = {
    "mmkit": 1,
    "modalities": {"text": {"adapter": "characters"}},
    "backbone": {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8},
    "tasks": {"mood": {"input": "{text}", "output": "{label}", "head": {"use": "classify", "labels": ["bad", "good"]}}},
}


@pytest.mark.parametrize("stop", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_the_page_answers_and_a_signal_ends_it_with_its_uploads(tmp_path: Path, stop: signal.Signals) -> None:
    pytest.importorskip("gradio", reason="pip install 'mmkit[play]'")
    mmkit.build(SPEC, fit={"text": ["a fine film"]}).save(tmp_path / "model")
    (tmp_path / "places").mkdir()
    command = [sys.executable, "-m", "mmkit", "play", str(tmp_path / "model"), "--port", "0"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path / "places")},
            preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in (signal.SIGINT, signal.SIGTERM)],
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("model is at http://127.0.0.1:"), (tmp_path / "log").read_text()
        with urllib.request.urlopen(line.split()[3]) as answer:
            assert answer.status == 200
        assert [one.name[:11] for one in (tmp_path / "places").glob("mmkit-play-*")] == ["mmkit-play-"]
        process.send_signal(stop)
        process.wait(60)
    finally:
        process.kill()
    assert not list((tmp_path / "places").glob("mmkit-play-*"))
    assert "Traceback" not in (tmp_path / "log").read_text()
