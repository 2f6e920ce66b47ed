"""``mmkit new``: what it prints, and how it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run


def test_new_alone_shows_what_can_be_made(run: Run) -> None:
    done = run("new")
    assert (done.code, done.err) == (0, "")
    assert "plugin" in done.out
    assert "recipe" in done.out


def test_the_first_steps_can_be_pasted_also_where_a_folder_has_a_blank(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("new", "plugin", "pulse", "--kind", "vocabulary", "--output", "my work/pulse")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "mmkit-pulse: a codec, use: pulse (12 files)\n"
        "next:\n"
        "  pip install -e './my work/pulse[dev]'\n"
        "  pytest './my work/pulse'\n"
        "  mmkit conform mmkit-pulse\n"
        "yours: quantize and restore in my work/pulse/mmkit_pulse/codec.py\n"
    )
    assert (tmp_path / "my work" / "pulse" / "pyproject.toml").is_file()


def test_a_folder_that_is_taken_is_wrong_input(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_text("mine")
    done = run("new", "recipe", "beats", "--output", ".")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"error: {tmp_path} is there already, a folder that is not empty; nothing was written\n"
        "    fix: give another folder by --output, or move it\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_note_says_what_is_called_so_already(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("new", "plugin", "linear", "--kind", "adapter").out.endswith(
        "note: tasks/linear has this name, too: specs write linear/linear beside it\n"
    )


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from mmkit.scaffold import new_plugin, new_recipe\n"
        "new_plugin('pulse', 'backbone'), new_recipe('beats')\n"
        "heavy = [m for m in ('torch', 'transformers', 'numpy', 'datasets') if m in sys.modules]\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
