"""A model over rows that tests write."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

from rows import Make, build, spec_of, write_rows


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """``make(streaming=…, workers=…)``: a model over two weighted sources, the second streamed or not."""

    def made(streaming: bool = False, workers: int = 0, **data: Any) -> Any:
        first = {"task": "mood", "path": str(write_rows(tmp_path / "a.jsonl", 97))}
        second = {"task": "echo", "path": str(write_rows(tmp_path / "b.jsonl", 61, 1)), "weight": 2.0}
        if streaming:
            second |= {"streaming": True, "shuffle_buffer": 16}
        return build(spec_of([first, second], workers=workers, **data))

    return made
