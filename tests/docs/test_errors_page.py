"""docs/errors.md: every public exception has its causes and cures, and every message that it names is in the code."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import mmkit

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text("utf-8")
ERRORS = [name for name in mmkit.__all__ if name.endswith("Error")]
ROW = re.compile(r"^\| `(?P<message>.+?)` \| (?P<cause>.+) \| (?P<cure>.+) \|$", re.MULTILINE)


@cache
def written() -> list[str]:
    """Every text in the code, with … where something is filled in."""
    found = []
    for folder in ("mmkit", "plugins"):
        for path in (ROOT / folder).rglob("*.py"):
            if "tests" not in path.parts:
                found += [text_of(node) for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    return [text for text in found if text]


def text_of(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(value) or "…" for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (text_of(node.left) or "…") + (text_of(node.right) or "…")
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def is_written(message: str) -> bool:
    """Whether one text of the code has all that is said between the dots, in order."""
    pattern = re.compile(".*?".join(re.escape(piece.strip()) for piece in message.split("…")), re.DOTALL)
    return any(pattern.search(text) for text in written())


@pytest.mark.parametrize("message", [row["message"] for row in ROW.finditer(PAGE)])
def test_every_message_is_one_that_mmkit_says(message: str) -> None:
    assert is_written(message)


def test_a_message_that_nothing_says_is_found() -> None:
    assert not is_written("there is no … of this kind: …")


@pytest.mark.parametrize("error", ERRORS)
def test_every_public_exception_has_causes_and_cures(error: str) -> None:
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    own = [text for text in sections if error in text.partition("\n")[0].split()]
    assert len(own) == 1, f"{error} has no section of its own"
    table = own[0] if error != "SampleError" else own[0].partition("A `SampleError` means")[2]
    assert len(ROW.findall(table)) >= 5
