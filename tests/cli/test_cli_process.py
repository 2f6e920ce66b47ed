"""Real processes: exit codes, clean stdout, signals, closed pipes, full disks, the shell's completion."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import process


def finish(started: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = started.communicate(timeout=120)
    return started.returncode, out, err


def test_stdout_is_only_the_result(model: Path) -> None:
    code, out, err = finish(process("predict", model, "--task", "mood", "--text", "warm", "--json"))
    assert (code, err) == (0, "")
    assert json.loads(out)["prediction"]["label"] in ("neg", "pos")


def test_looking_never_imports_torch(spec: Path) -> None:
    code = (
        "import sys\nfrom mmkit.cli import main\n"
        "for line in (['plugins'], ['components'], ['schema'], ['inspect', sys.argv[1]], ['check', sys.argv[1], '--static']):\n"
        "    try:\n        main(line)\n    except SystemExit as done:\n        assert done.code == 0, line\n"
        "    heavy = [name for name in ('torch', 'transformers', 'numpy', 'PIL') if name in sys.modules]\n"
        "    assert not heavy, (line, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(spec)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupted_training_ends_with_130(spec: Path, tmp_path: Path) -> None:
    spec.write_text(spec.read_text().replace("steps: 2", "steps: 1000000"))
    started = process("train", spec, "--output", tmp_path / "model")
    assert started.stderr is not None
    for line in started.stderr:
        if "loss" in line:
            break
    started.send_signal(signal.SIGINT)
    code, _, err = finish(started)
    assert code == 130
    assert err.endswith("interrupted\n")
    assert "Traceback" not in err


def test_a_closed_pipe_is_no_error() -> None:
    started = process("components")
    assert started.stdout is not None
    started.stdout.close()
    assert started.wait(timeout=120) == 141
    assert started.stderr is not None
    assert started.stderr.read() == ""


def test_bars_go_to_the_terminal_and_stdout_stays_clean(model: Path) -> None:
    master, slave = pty.openpty()
    started = process("evaluate", model, "--json", stderr=slave)
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while piece := os.read(master, 4096):
            shown += piece
    os.close(master)
    code, out, _ = finish(started)
    assert (code, json.loads(out).keys()) == (0, {"mood", "shade"})
    text = shown.decode()
    assert "loading the model" in text
    assert "8/8" in text
    assert "━" in text


def test_a_narrow_encoding_is_no_reason_to_fail(model: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "mmkit"]
    done = subprocess.run([*command, "components"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "----" in done.stdout
    rows = tmp_path / "rows.jsonl"
    line = [*command, "predict", model, "--task", "mood", "--rows", rows, "--skip-bad"]
    rows.write_text('{"über 😀": 1}\n{"text": "warm"}\n')
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[0])["error"] == "there is no column 'text'; the row has: über 😀"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said(model: Path) -> None:
    with open("/dev/full", "w") as full:
        code, _, err = finish(process("plugins", stdout=full))
    assert (code, err) == (1, "error: No space left on device\n")
    line = ("predict", model, "--task", "mood", "--text", "warm", "--output", "/dev/full")
    assert finish(process(*line))[::2] == (1, "error: /dev/full: No space left on device\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mmkit comp", ["components"]),
        ("mmkit components --kind enc", ["encoder"]),
        ("mmkit predict model --task ", ["caption", "mood", "shade"]),
        ("mmkit predict model --image x.png --task m", ["mood"]),
        ("mmkit evaluate model --part t", ["test", "train"]),
        ("mmkit conform ", ["audio", "image", "tasks", "text"]),
        ("mmkit conform mmkit-t", ["mmkit-tasks", "mmkit-text"]),
        ("mmkit conform image --component hf", ["hf-vision", "hf-image-codes"]),
        ("mmkit conform image --at-least s", ["silver"]),
        ("mmkit doc", ["doctor"]),
        ("mmkit check sp", []),  # files are the shell's own
    ],
)
def test_the_shell_completes(work: Path, line: str, expected: list[str]) -> None:
    words = line.split(" ")
    code = "import sys; sys.argv[0] = 'mmkit'; from mmkit.cli import main; main()"
    asked = {"_MMKIT_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=work, env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == expected


def test_bash_takes_the_script_and_completes_files_itself(work: Path) -> None:
    script = """
        mmkit() { "$PYTHON" -m mmkit "$@"; }
        shown="$(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION=1 mmkit --show-completion bash)"
        eval "$shown"
        complete -p mmkit
        for line in "$@"; do
            COMP_WORDS=($line) COMP_CWORD=2
            env() { command env "${@:1:$#-1}" "$PYTHON" -c "import sys; sys.argv[0] = 'mmkit'; from mmkit.cli import main; main()"; }
            _mmkit_completion mmkit
            echo "$line: ${COMPREPLY[*]}"
        done
    """
    command = ["bash", "-c", script, "bash", "mmkit conform ta", "mmkit check sp"]
    asked = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, cwd=work, env=asked, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "complete -o default -F _mmkit_completion mmkit",
        "mmkit conform ta: tasks",
        "mmkit check sp: ",
    ]


def test_the_other_shells_complete_files_where_mmkit_has_no_names(work: Path) -> None:
    code = "import sys; sys.argv[0] = 'mmkit'; from mmkit.cli import main; main()"
    for action, line, expected in (
        ("complete_zsh", "mmkit check sp", "_files"),
        ("complete_zsh", "mmkit conform ta", "_arguments '*: :((\"tasks\"))'"),
    ):
        asked = {**os.environ, "_MMKIT_COMPLETE": action, "_TYPER_COMPLETE_ARGS": line}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=work, env=asked, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout.strip()) == (0, expected), done.stderr
