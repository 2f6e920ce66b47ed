"""The kit as a pytest plugin and as a command."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmkit.registry.component import Component

Pulse = Callable[..., Component]
TESTS = """
from mmkit.testing import Conformance

class TestConformance(Conformance):
    plugin = "mmkit-pulse"
"""
FAULT = {'return item["rows"].shape[0]': 'return item["rows"].shape[0] + 1'}


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command in a folder, with a wide terminal."""
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=folder, check=False)


def test_every_check_is_a_test_and_the_end_has_the_scorecard(pulse: Pulse, tmp_path: Path) -> None:
    pulse(FAULT)
    (tmp_path / "test_pulse.py").write_text(TESTS)
    ran = run("pytest", "-q", "test_pulse.py", folder=tmp_path)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "Every item becomes as many rows as was promised before the forward pass: promised were" in ran.stdout
    assert "to mend: let num_features (encoder) or num_tokens (adapter) follow the arithmetic of forward" in ran.stdout
    assert re.search(r"encoder pulse/pulse: no level \(\d+ passed, \d+ failed\)", ran.stdout)
    assert "test_component[encoder-pulse-promised_rows_are_given]" in ran.stdout


def test_the_command_prints_the_scorecard_and_its_exit_code_tells(pulse: Pulse, tmp_path: Path) -> None:
    pulse({**FAULT})
    ran = run("mmkit", "conform", "mmkit-pulse", folder=tmp_path)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert re.search(r"pulse/pulse\s+encoder\s+none\s+\d+\s+\d+\s+0", ran.stdout)
    assert (
        "failed: pulse/pulse: promised_rows_are_given\n  promised were [2, 6, 3] rows, given are [1, 5, 2]"
        in ran.stdout
    )
    assert "  bronze needs: Every item becomes as many rows as was promised before the forward pass\n" in ran.stdout


@pytest.mark.slow
def test_the_command_gives_every_check_as_json(pulse: Pulse, tmp_path: Path) -> None:
    pulse()
    ran = run("mmkit", "conform", "pulse", "--json", folder=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = {one["check"]: one for one in json.loads(ran.stdout)}
    assert found["alone_is_packed"]["status"] == "passed"
    assert found["alone_is_packed"]["level"] == "bronze"
    wrong = run("mmkit", "conform", "pulse", "--at-least", "platinum", folder=tmp_path)
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "error: there is no level 'platinum': allowed: bronze, gold, silver\n",
    )
