"""What is deprecated works, warns at the caller, and names version and replacement; what is overdue turns this red."""

import ast
import warnings
from pathlib import Path

import pytest
from packaging.version import Version

import mmkit
from mmkit.deprecation import deprecated, message

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "mmkit").rglob("*.py"), *(ROOT / "plugins").glob("*/mmkit_*/*.py")])
NEEDED = {"since", "removal", "instead"}


@deprecated(since="0.2", removal="0.4", instead="mmkit.load")
def read(path: str) -> str:
    """Docstring."""
    return f"read {path}"


@deprecated(since="0.2", removal="0.4", instead="mmkit.Ragged")
class Padded:
    """Docstring."""

    def __init__(self, size: int) -> None:
        self.size = size


def test_a_function_works_and_warns_at_its_caller() -> None:
    said = "^read is deprecated since mmkit 0.2 and goes with 0.4: use mmkit.load$"
    with pytest.warns(DeprecationWarning, match=said) as caught:
        assert read("a") == "read a"
    assert caught[0].filename == __file__
    assert (read.__name__, read.__doc__) == ("read", "Docstring.")


def test_a_class_works_and_warns_where_it_is_made_or_derived_from() -> None:
    said = "Padded is deprecated since mmkit 0.2 and goes with 0.4: use mmkit.Ragged"
    with pytest.warns(DeprecationWarning, match=said) as caught:
        assert Padded(3).size == 3
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match=said):

        class Wider(Padded):
            pass

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Wider(4).size == 4


def test_an_argument_says_the_same() -> None:
    said = message("load(strict=…)", since="0.2", removal="0.4", instead="load(verify=…)")
    assert said == "load(strict=…) is deprecated since mmkit 0.2 and goes with 0.4: use load(verify=…)"


def faults(code: str, version: str) -> list[str]:
    """Deprecations that name no versions, or that a release of this version no longer has."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("deprecated", "message"):
            given = {word.arg: word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)}
            if node.keywords and {word.arg for word in node.keywords} >= NEEDED and given.keys() >= NEEDED:
                if Version(str(given["removal"])) <= Version(version):
                    found.append(f"line {node.lineno}: was to go with {given['removal']}")
                elif Version(str(given["since"])) >= Version(str(given["removal"])):
                    found.append(f"line {node.lineno}: goes before it is deprecated")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_is_overdue(path: Path) -> None:
    text = path.read_text("utf-8")
    assert "deprecated(" not in text or faults(text, mmkit.__version__) == []


def test_what_is_overdue_is_found() -> None:
    code = "@deprecated(since='0.2', removal='{}', instead='x')\ndef f(): ...\n"
    assert faults(code.format("0.4"), "0.3.1") == []
    assert faults(code.format("0.4"), "0.4.0") == ["line 1: was to go with 0.4"]
    assert faults(code.format("0.1"), "0.0.1") == ["line 1: goes before it is deprecated"]
