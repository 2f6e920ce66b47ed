"""docs/bad-input.md and docs/security.md: every test that they name exists, and every file of tests/faults is behind some row."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEST = r"(?:tests|plugins/mmkit-\w+/tests)/[\w/]+\.py"


def read(page: str) -> str:
    return (ROOT / "docs" / page).read_text("utf-8")


def named(page: str) -> list[tuple[str, str]]:
    return re.findall(rf"`({TEST})::(\w+)`", read(page))


def test_every_row_names_a_test() -> None:
    rows = [
        line for line in read("bad-input.md").splitlines() if line.startswith("| ") and not line.startswith("| what ")
    ]
    assert len(rows) > 45
    for row in rows:
        assert row.count(" | ") == 3, row
        assert re.search(r"`tests/[\w/]+\.py::\w+` \|$", row), row


def test_every_fault_has_a_number_and_names_a_test() -> None:
    rows = [line for line in read("security.md").splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(row.split(" | ")[0].removeprefix("| ")) for row in rows] == list(range(1, 29))
    for row in rows:
        assert row.count(" | ") == 4, row
        assert re.search(rf"`{TEST}::\w+` \|$", row), row


@pytest.mark.parametrize("page", ["bad-input.md", "security.md"])
def test_every_test_that_is_named_exists(page: str) -> None:
    assert named(page)
    for path, name in named(page):
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        kinds = ast.FunctionDef | ast.AsyncFunctionDef
        assert name in {node.name for node in tree.body if isinstance(node, kinds)}, f"{path}::{name}"


def test_every_file_of_faults_is_behind_a_row() -> None:
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "faults").glob("test_*.py")}
    assert files <= {path for path, _ in named("bad-input.md")}
