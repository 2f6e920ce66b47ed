"""Which rows a run trains on: sources by weight, every row once a pass, the same for a seed on any number of workers."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mmkit
from mmkit.model.batch import PackedBatch

Train = Callable[..., mmkit.Model]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, train: Train) -> Callable[..., list[PackedBatch]]:
    """Trains, and gives the batches that reached the model."""

    def run(spec: dict[str, Any], **options: Any) -> list[PackedBatch]:
        batches: list[PackedBatch] = []
        forward = mmkit.Model.forward

        def look(self: Any, batch: PackedBatch, *rest: Any, **more: Any) -> Any:
            batches.append(batch)
            return forward(self, batch, *rest, **more)

        with monkeypatch.context() as patch:
            patch.setattr(mmkit.Model, "forward", look)
            train(spec, **options)
        return batches

    return run


def rows_of(batches: list[PackedBatch]) -> list[str]:
    return [address for batch in batches for address in batch.addresses]


@pytest.fixture
def spec(mood: dict[str, Any], write_rows: Callable[..., Path]) -> dict[str, Any]:
    """Three sources, two tasks: 5, 40 and 12 rows, drawn 1 : 2 : 5."""
    sources = []
    for name, count, weight, task in (("a", 5, 1.0, "mood"), ("b", 40, 2.0, "mood"), ("c", 12, 5.0, "say")):
        rows = [{"text": f"{name} {n} film", "label": "pos" if n % 2 else "neg"} for n in range(count)]
        sources.append({"task": task, "path": str(write_rows(rows, f"{name}.jsonl")), "weight": weight})
    mood["tasks"]["say"] = {"input": "{text}", "output": "{text}", "head": "generate"}
    mood["data"] = {"train": sources}
    mood["train"]["stages"][0] |= {"steps": 40, "batch_size": 10}
    return mood


def source_of(address: str) -> str:
    return Path(address.rpartition(":")[0]).stem


def test_sources_are_drawn_by_their_weights(spec: dict[str, Any], seen: Any) -> None:
    batches = seen(spec)
    counts = Counter(source_of(address) for address in rows_of(batches))
    assert sum(counts.values()) == 400
    for name, share in (("a", 1 / 8), ("b", 2 / 8), ("c", 5 / 8)):
        spread = (400 * share * (1 - share)) ** 0.5
        assert abs(counts[name] - 400 * share) < 3 * spread
    assert any(len(set(batch.tasks)) == 2 for batch in batches)


def test_every_row_of_a_source_comes_once_before_any_comes_twice(spec: dict[str, Any], seen: Any) -> None:
    drawn = rows_of(seen(spec))
    for name, size in (("a", 5), ("b", 40), ("c", 12)):
        rows = [address for address in drawn if source_of(address) == name]
        assert len(rows) > size
        for start in range(0, len(rows) - size + 1, size):
            assert len(set(rows[start : start + size])) == size
    passes = [address for address in drawn if source_of(address) == "c"]
    assert passes[:12] != passes[12:24]  # each pass in an order of its own


@pytest.mark.parametrize("streaming", [False, True])
def test_the_seed_decides_the_rows(spec: dict[str, Any], seen: Any, streaming: bool) -> None:
    spec["train"]["stages"][0] |= {"steps": 6, "batch_size": 5}
    for source in spec["data"]["train"]:
        source["streaming"] = streaming
    first, again, other = (rows_of(seen(spec, seed=seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize("streaming", [False, True])
def test_the_number_of_workers_changes_nothing(
    spec: dict[str, Any], seen: Any, tmp_path: Path, streaming: bool
) -> None:
    spec["train"]["stages"][0] |= {"steps": 4, "batch_size": 5}
    for source in spec["data"]["train"]:
        source["streaming"] = streaming
    found = []
    for workers in (0, 2):
        spec["data"]["workers"] = workers
        batches = seen(spec, output=tmp_path / f"model{workers}")
        weights = mmkit.load(tmp_path / f"model{workers}").state_dict()
        found.append(([(batch.addresses, batch.tasks, batch.ids.tolist()) for batch in batches], weights))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(found[0][1][name], found[1][1][name]) for name in found[0][1])


def test_an_epoch_is_every_row_once(mood: dict[str, Any], seen: Any) -> None:
    mood["train"]["stages"] = [{"name": "all", "epochs": 2, "batch_size": 3}]
    counts = Counter(rows_of(seen(mood)))
    assert len(counts) == 8
    assert set(counts.values()) == {2}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("streaming", [False, True])
def test_evaluation_reads_every_row_once_in_order(
    mood: dict[str, Any], write_rows: Callable[..., Path], workers: int, streaming: bool
) -> None:
    path = write_rows([{"text": f"film {n}", "label": "pos"} for n in range(23)], "many.jsonl")
    mood["data"] = {"test": [{"task": "mood", "path": str(path), "streaming": streaming}], "workers": workers}
    result = mmkit.evaluate(mmkit.build(mood, fit={"text": ["film"]}), batch_size=4)["mood"]
    assert result.addresses == [f"{path}:{number}" for number in range(1, 24)]
