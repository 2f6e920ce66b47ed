"""Every command of ``docs/cli.md`` prints what the page shows; figures of a training may differ in their digits."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def words(text: str) -> list[list[str]]:
    """The words of each line, in any order (probabilities are ranked), without decimals."""
    text = re.sub(r"\d+\.\d+(e-\d+)?", "#", text)
    return [sorted(line.split()) for line in text.strip().splitlines()]


def test_the_page_shows_what_the_commands_print(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    commands = set()
    for language, title, text in FENCE.findall(PAGE.read_text("utf-8")):
        if title:
            Path(title).write_text(text)
        if language != "console":
            continue
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            line, _, shown = part.partition("\n")
            program, *arguments = shlex.split(line)
            if program == "python":
                subprocess.run([sys.executable, *arguments], check=True)
                continue
            commands.add(arguments[0])
            done = run(*arguments)
            if arguments[0] == "train":
                assert (done.code, words(done.out)) == (0, words(shown)[-1:])
            else:
                assert words(done.err + done.out) == words(shown), line
            assert done.code == (2 if shown.startswith("error") else 0), line
    shown = {"check", "inspect", "train", "evaluate", "predict", "plugins", "components", "schema", "new"}
    assert commands == shown


def test_the_page_lists_every_exit_code() -> None:
    from mmkit.cli import outcome

    codes = [outcome.DONE, outcome.FAILED, outcome.WRONG_INPUT, outcome.INTERNAL, outcome.INTERRUPTED]
    listed = re.findall(r"^\| (\d+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert listed == [str(code) for code in (*codes, outcome.READER_GONE, outcome.TERMINATED)]
