"""What logs say of a row: its address, never what it holds."""

import json
from pathlib import Path
from typing import Any

import pytest

import mmkit
from mmkit.data.masked import masked
from mmkit.errors import DataError

TEXT = "Jane Doe, born 1970, has \"a 'rare' disease\" and lives in 4 Elm Street, Springfield"


def test_no_value_is_left_whole_or_cut() -> None:
    row = {"text": TEXT, "label": "positive", "age": 53}
    assert masked(f"text {TEXT!r} has no tokens", row) == f"text <text, {len(TEXT)} characters> has no tokens"
    assert masked(f"text {TEXT[:30]!r}… is long", row) == f"text '<text, {len(TEXT)} characters>'… is long"
    assert masked("label 'positive' is not in the head's labels", row) == (
        "label <label, 8 characters> is not in the head's labels"
    )
    assert masked("target 53 is outside the bounds", row) == "target <age, 2 characters> is outside the bounds"
    assert masked("label 'positive' is not in", row, longest=40) == "label 'positive' is not in"


@pytest.mark.parametrize("skip", [True, False])
def test_what_a_run_says_of_a_bad_row_names_it_and_quotes_nothing(tmp_path: Path, skip: bool) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"text": "fine", "label": "yes"}] * 3 + [{"text": "fine", "label": TEXT}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec: dict[str, Any] = {
        "mmkit": 1,
        "modalities": {"text": {"encoder": {"use": "lstm", "vocabulary": {"use": "words", "vocab_size": 9}}}},
        "tasks": {"t": {"input": "{text}", "output": "{label}", "head": {"use": "classify", "labels": ["yes", "no"]}}},
        "data": {"train": [{"task": "t", "path": str(path)}], "max_bad": 1},
        "train": {"trackers": [], "log_every": 1, "stages": [{"name": "all", "steps": 1, "batch_size": 4}]},
    }
    spec["data"]["on_bad_sample"] = "skip" if skip else "raise"
    said: list[str] = []
    try:
        mmkit.train(spec, output=tmp_path / "model", say=said.append)
    except DataError as error:
        said.append(str(error))
    (line,) = [line for line in said if "rows.jsonl:4" in line]
    assert f"label <label, {len(TEXT)} characters> is not in the head's labels" in line
    kept = [line, *(file.read_text() for file in tmp_path.glob("model/**/*.json"))]
    assert not [text for text in kept if "Jane" in text or "Springfield" in text]
