"""Exact resumption holds whatever the settings: budgets, precision, augmentation, cached features, bad rows, evaluation."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
Change = Callable[[dict[str, Any], Path], None]


def rows_of(source: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(source["path"]).read_text().splitlines()]


def token_budget(spec: dict[str, Any], folder: Path) -> None:
    spec["train"]["stages"][0] = {"name": "all", "steps": 6, "tokens_per_batch": 150, "lr": 0.01, "lookahead": 8}


def split_samples(spec: dict[str, Any], folder: Path) -> None:
    token_budget(spec, folder)
    spec["train"]["stages"][0] |= {"tokens_per_batch": 24, "long_samples": "split"}


def bf16(spec: dict[str, Any], folder: Path) -> None:
    spec["train"]["precision"] = "bf16"


def evaluated(spec: dict[str, Any], folder: Path) -> None:
    spec["data"]["valid"] = [{**spec["data"]["train"][0], "weight": 1}]
    spec["train"] |= {"eval_every": 2, "eval_limit": 8}


def bad_rows(spec: dict[str, Any], folder: Path) -> None:
    path = Path(spec["data"]["train"][0]["path"])
    rows = rows_of(spec["data"]["train"][0])
    for place in range(0, len(rows), 5):
        rows[place]["label"] = "lukewarm"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec["data"] |= {"on_bad_sample": "skip", "max_bad": 0.5}


def pictures(spec: dict[str, Any], folder: Path) -> None:
    """Pictures that are augmented at random, prepared by workers."""
    rows = rows_of(spec["data"]["train"][0])
    Path(spec["data"]["train"][0]["path"]).write_text(
        "".join(json.dumps({**row, "picture": f"{n % 3}.png"}) + "\n" for n, row in enumerate(rows))
    )
    encoder = {"use": "cnn", "image_size": 8, "channels": [4], "augment": ["flip", "shift"], "dropout": 0.1}
    spec["modalities"]["image"] = {"encoder": encoder, "adapter": "linear"}
    spec["tasks"]["mood"] |= {"input": "{picture}{text}", "columns": {"picture": "image"}}
    spec["data"]["workers"] = 2


def cached(spec: dict[str, Any], folder: Path) -> None:
    """Features of a frozen encoder, kept from the first run on."""
    pictures(spec, folder)
    del spec["modalities"]["image"]["encoder"]["augment"]
    spec["train"]["stages"][0]["train"] = ["image.adapter", "backbone", "*.head"]
    spec["train"]["cache"] = {"use": "always", "folder": str(folder / "cache")}


@pytest.mark.parametrize("change", [token_budget, split_samples, bf16, evaluated, bad_rows, pictures, cached])
def test_killed_and_resumed_gives_the_losses_and_weights_of_a_run_left_alone(
    spec: dict[str, Any], run: Run, tmp_path: Path, picture: Callable[..., bytes], change: Change
) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    spec["train"]["stages"] = [{"name": "all", "steps": 6, "batch_size": 4, "accumulate": 2, "lr": 0.01}]
    change(spec, tmp_path)
    whole = run(spec, tmp_path / "whole")
    assert whole.status == 0, whole.error
    killed = run(spec, tmp_path / "model", kill=("all", 3))
    assert killed.status == -signal.SIGKILL, killed.error
    if spec["data"].get("workers"):
        spec["data"]["workers"] = 0
    again = run(spec, tmp_path / "model", resume=True)
    assert again.status == 0, again.error
    assert again.said[0] == f"resuming from {tmp_path / 'model' / 'checkpoints' / 'stage00-step00000002'}"
    for ran in (killed, again):
        assert ran.losses == {place: whole.losses[place] for place in ran.losses}
    assert min(at for _, at in again.losses) == 3
    assert max(at for _, at in again.losses) == 6
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()
    told = [[line for line in ran.said if "skipped" in line or "% full" in line] for ran in (whole, again)]
    assert told[0] == told[1]
    assert bool(told[0]) == (change in (token_budget, split_samples, bad_rows))
