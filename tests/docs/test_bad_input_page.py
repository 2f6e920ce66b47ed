"""docs/bad-input.md: every test that it names exists, and every file of tests/faults is behind some row."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "bad-input.md").read_text("utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def test_every_row_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| what ")]
    assert len(rows) > 45
    for row in rows:
        assert row.count(" | ") == 3, row
        assert re.search(r"`tests/[\w/]+\.py::\w+` \|$", row), row


def test_every_test_that_is_named_exists() -> None:
    for path, name in NAMED:
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{path}::{name}"


def test_every_file_of_faults_is_behind_a_row() -> None:
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "faults").glob("test_*.py")}
    assert files <= {path for path, _ in NAMED}
