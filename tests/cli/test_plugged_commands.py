"""Commands that plugins bring to ``mmkit``."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run

CODE = """
import sys
from mmkit import Command, hookimpl

@hookimpl
def mmkit_commands():
    return [
        Command("hello", "Says hello.", "plug_{0}_code:hello"),
        Command("train", "Another train.", "plug_{0}_code:hello"),
        Command("lost", "Is not there.", "plug_{0}_code:lost"),
        Command("fails", "Raises.", "plug_{0}_code:fails"),
    ]
"""
FUNCTIONS = '''
import typer
from mmkit import MmkitError

def hello(name: str, times: int = 1) -> None:
    """Says hello to somebody."""
    for _ in range(times):
        typer.echo(f"hello {name}")

def fails() -> None:
    raise MmkitError("no luck")
'''


@pytest.fixture
def greeter(install: Callable[..., Path]) -> Callable[..., None]:
    def add(name: str = "greet") -> None:
        site = install(name, CODE.format(name))
        (site / f"plug_{name}_code.py").write_text(FUNCTIONS)

    return add


def test_a_command_of_a_plugin_runs(run: Run, greeter: Callable[..., None]) -> None:
    greeter()
    done = run("hello", "you", "--times", "2")
    assert (done.code, done.out, done.err) == (0, "hello you\nhello you\n", "")


def test_the_help_lists_it_without_importing_it(run: Run, greeter: Callable[..., None]) -> None:
    greeter()
    shown = run("--help").out
    assert "Says hello. (plugin greet)" in shown
    assert "greet/train" in shown
    assert "plug_greet_code" not in sys.modules
    assert "Says hello to somebody." in run("hello", "--help").out


def test_a_name_that_is_taken_is_typed_in_full(run: Run, greeter: Callable[..., None]) -> None:
    greeter()
    greeter("other")
    assert "Build, train" in run("train", "--help").out
    assert run("greet/train", "you").out == "hello you\n"
    assert run("other/hello", "you").out == "hello you\n"
    done = run("hello", "you")
    assert (done.code, "No such command 'hello'" in done.err) == (2, True)


def test_faults_are_those_of_the_plugin(run: Run, greeter: Callable[..., None]) -> None:
    greeter()
    done = run("lost")
    assert (done.code, done.err) == (
        2,
        "error: command 'lost' of plugin 'greet' cannot be used: AttributeError: module 'plug_greet_code' has no attribute "
        "'lost'; it should be the function plug_greet_code:lost\n",
    )
    done = run("fails")
    assert (done.code, done.err) == (2, "error: no luck\n")
    assert run("hello").code == 2


def test_our_own_commands_ask_no_plugin(tmp_path: Path) -> None:
    code = "import sys; from mmkit.cli import main\ntry: main(['schema', '--help'])\nexcept SystemExit: pass\n"
    code += "assert 'mmkit_image.plugin' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
