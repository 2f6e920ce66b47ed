"""A small spec with something to search, and a way to search it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit


@pytest.fixture
def spec(mood: dict[str, Any]) -> dict[str, Any]:
    """Two paths to search, an evaluation every second of six steps."""
    mood["data"]["valid"] = mood["data"]["test"]
    mood["train"] = {
        "stages": [{"name": "all", "steps": 6, "batch_size": 4, "lr": 0.01}],
        "eval_every": 2,
        "trackers": [],
    }
    mood["tune"] = {"train.stages[0].lr": {"log_uniform": [1e-4, 1e-1]}, "backbone.hidden_dim": {"choice": [4, 8]}}
    return mood


@pytest.fixture
def tune(tmp_path: Path) -> Callable[..., Any]:
    """``mmkit.tune`` into ``search`` in the test's folder, its lines collected in ``tune.said``."""
    said: list[str] = []

    def run(spec: Any, **options: Any) -> Any:
        return mmkit.tune(spec, **{"output": tmp_path / "search", "say": said.append, **options})

    run.said = said  # type: ignore[attr-defined]
    return run
