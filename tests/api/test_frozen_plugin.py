"""A plugin that was written for an API, and never changed since, is built, installed and used. Red: that API is broken."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmkit.registry.component import SUPPORTED_APIS

HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=SUPPORTED_APIS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugin in ``source``, and its wheel installed in ``site``."""
    folder = tmp_path_factory.mktemp("frozen")
    shutil.copytree(HERE / f"plugin_v{request.param}", folder / "source")  # setuptools writes into its source
    offline = ["--no-deps", "--no-index", "--quiet"]
    pip(folder, "wheel", *offline, "--no-build-isolation", "--wheel-dir", "wheels", "./source")
    (wheel,) = (folder / "wheels").glob("*.whl")
    pip(folder, "install", *offline, "--target", "site", str(wheel))
    return folder


def pip(folder: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *words], cwd=folder, check=True)


def run(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Python in a process of its own that finds this plugin and no other."""
    paths = os.pathsep.join([str(folder / "site"), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": paths, "MMKIT_PLUGINS": "frozen"}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_it_is_listed_checked_trained_evaluated_saved_and_loaded(site: Path) -> None:
    done = run(site, "source/use.py")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["plugin"] == ["mmkit-frozen", "1.0", "loaded", []]
    assert found["tokens"] == 4
    assert (found["metrics"], found["number"]) == (["coverage", "loss", "loss", "number", "right_length"], 8)
    assert (site / "model" / "steps.txt").read_text() == "60"
    assert "'gru-1' is called 'one-gru' in plugin 'frozen' since version 1.0" in done.stderr
    trained, loaded = found["answers"]
    assert trained == loaded
    assert trained["go_on"] == [0.0, 1.0]
    assert trained["cycles"]["0.5"] == pytest.approx(2, abs=2)
    report = run(site, "-m", "mmkit", "evaluate", "model", "--report", "page.html")
    assert report.returncode == 0, report.stderr
    assert "<h2>Signals</h2>" in (site / "page.html").read_text("utf-8")
    assert "<p>16 samples</p>" in (site / "page.html").read_text("utf-8")
    assert run(site, "-m", "mmkit", "waves", "2").stdout == "1 cycles\n2 cycles\n"


@pytest.mark.slow
def test_it_conforms(site: Path) -> None:
    done = run(site, "-m", "mmkit", "conform", "frozen", "--json")
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert {one["component"] for one in found} == {
        f"frozen/{name}"
        for name in (
            *("signal-patches", "halve", "levels", "one-gru", "quantiles", "continue"),
            *("waves", "answers", "watch"),
        )
    }
    failed = [f"{one['component']} {one['check']}: {one['text']}" for one in found if one["status"] == "failed"]
    assert (failed, done.returncode) == ([], 0)
