"""Generated plugins: one of every kind, and ways to run them as their authors would."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mmkit.scaffold import Made, new_plugin
from mmkit.scaffold.plugin import KINDS

ROOT = Path(__file__).parents[2]
PIP = ("pip", "install", "--no-deps", "--no-index", "--no-build-isolation", "--quiet")
Run = Callable[..., str]


def python(*words: str, folder: Path, before: Path | None = None, **variables: str) -> str:
    """What a module prints, run in a folder; ``before`` comes first on the path. It has to end well."""
    path = os.pathsep.join(str(entry) for entry in (before, *sys.path) if entry)
    done = subprocess.run(
        [sys.executable, "-m", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **variables},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Made]:
    """One of every kind, called ``heart-KIND``."""
    folder = tmp_path_factory.mktemp("projects")
    return {
        kind: new_plugin(f"heart-{kind}", kind, output=folder / kind, author="Ada Lovelace <ada@example.org>")
        for kind in KINDS
    }
