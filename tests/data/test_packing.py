"""Token-budget batches: how full they get, what happens to samples that are longer, and the order."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from rows import build, spec_of

import mmkit
from mmkit.data.cutting import sizes, split, truncate
from mmkit.data.loading import PackedLoader, loader, open_all
from mmkit.data.packing import choose, fitting
from mmkit.model.batch import Ids, Media, Sample
from mmkit.spec.schema import Stage


def stage(**fields: Any) -> Stage:
    return Stage.model_validate({"name": "a", "steps": 1, **fields})


def simulate(lengths: list[int], budget: int, lookahead: int) -> list[list[int]]:
    """Batches of a run over samples of these lengths."""
    waiting, batches, at = list[int](), [], 0
    while at < len(lengths) or waiting:
        while at < len(lengths) and ((n := fitting(waiting, budget)) is None or len(waiting) < n + lookahead):
            waiting.append(lengths[at])
            at += 1
        chosen = set(choose(waiting, budget, lookahead))
        batches.append([waiting[place] for place in sorted(chosen)])
        waiting = [length for place, length in enumerate(waiting) if place not in chosen]
    return batches


@pytest.mark.parametrize("budget", [512, 1024, 4096, 16384])
def test_batches_of_log_normal_lengths_are_at_least_95_percent_full(budget: int) -> None:
    drawn = np.random.default_rng(0).normal(4.5, 0.9, 10_000)
    lengths = np.clip(np.exp(drawn), 16, 512).astype(int).tolist()
    batches = simulate(lengths, budget, Stage.model_fields["lookahead"].default)
    assert sum(map(len, batches)) == len(lengths)
    assert max(map(sum, batches)) <= budget
    assert sum(lengths) / (budget * len(batches)) >= 0.95


def test_the_oldest_sample_is_never_left_behind_and_gaps_are_filled_largest_first() -> None:
    assert choose([50, 60, 10, 30, 20], 100, 8) == [0, 3, 4]
    assert choose([50, 60, 10, 30, 20], 100, 2) == [0, 2]
    assert choose([50, 60, 10, 30, 20], 100, 0) == [0]
    assert choose([50, 50, 1], 100, 8) == [0, 1]


@pytest.fixture
def texts(tmp_path: Path) -> Any:
    """``texts([words of row 1, …], **stage)``: a loader over echo rows; a row of n words has 2 n + 2 tokens."""

    def made(counts: list[int], data: dict[str, Any] | None = None, **fields: Any) -> PackedLoader:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps({"text": " ".join(["a"] * count)}) + "\n" for count in counts))
        model = build(spec_of([{"task": "echo", "path": str(path)}], **(data or {})))
        return loader(model, open_all(model.plan, "train"), stage(**fields))

    return made


def test_a_batch_never_has_more_tokens_than_the_budget_and_every_row_comes_once(texts: Any) -> None:
    running = texts([3, 9, 1, 4, 12, 7, 2, 2, 6], tokens_per_batch=30)
    batches = list(running)
    tokens = [int(b.stream_lengths.sum()) + sum(b.targets["echo"].sizes) for b in batches]
    assert max(tokens) <= 30
    assert sorted(a for b in batches for a in b.addresses) == sorted(
        f"{running.sources[0].name}:{n}" for n in range(1, 10)
    )
    assert running.report.tokens == sum(tokens)
    assert running.report.summary() == f"batches {sum(tokens) / (30 * len(batches)):.1%} full"


def test_a_long_sample_stops_the_run_with_its_address_tokens_and_the_fix(texts: Any) -> None:
    running = texts([3, 20, 1], tokens_per_batch=30)
    with pytest.raises(mmkit.DataError) as caught:
        list(running)
    assert str(caught.value) == (
        f"{running.sources[0].name}:2: the sample has 42 tokens (21 of its input, 21 of its target), more than "
        "tokens_per_batch = 30; raise tokens_per_batch, or set long_samples: drop, truncate or split"
    )


def test_dropped_samples_are_counted_and_named(texts: Any) -> None:
    running = texts([3, 20, 1, 30], tokens_per_batch=30, long_samples="drop")
    batches = list(running)
    name = running.sources[0].name
    assert [a for b in batches for a in b.addresses] == [f"{name}:1", f"{name}:3"]
    assert running.report.summary() == (
        f"batches 40.0% full; 2 samples longer than 30 tokens dropped ({name}:2, {name}:4)"
    )


def test_dropping_everything_stops_the_run(texts: Any) -> None:
    running = texts([20, 30], tokens_per_batch=30, long_samples="drop")
    name = running.sources[0].name
    with pytest.raises(mmkit.DataError) as caught:
        list(running)
    assert str(caught.value) == (
        f"every one of 2 samples is longer than tokens_per_batch = 30 and was dropped ({name}:1, {name}:2); "
        "raise tokens_per_batch"
    )


def test_a_batch_of_dropped_samples_alone_is_no_batch(texts: Any) -> None:
    running = texts([14, 20, 30], tokens_per_batch=30, long_samples="drop")
    assert [batch.addresses for batch in running] == [(f"{running.sources[0].name}:1",)]
    assert running.report.long == {"dropped": 2}


def test_truncated_samples_fill_the_budget(texts: Any) -> None:
    running = texts([20], tokens_per_batch=30, long_samples="truncate")
    [batch] = list(running)
    assert (batch.stream_lengths.tolist(), batch.targets["echo"].sizes) == ([15], [15])
    assert running.report.summary() == (
        f"batches 100.0% full; 1 samples longer than 30 tokens truncated ({running.sources[0].name}:1)"
    )


def test_the_pieces_of_a_split_sample_join_to_the_whole(texts: Any) -> None:
    running = texts([3, 20, 1], tokens_per_batch=30, long_samples="split")
    batches = list(running)
    pieces = [
        target
        for b in batches
        for address, target in zip(b.addresses, b.targets["echo"].split(), strict=True)
        if address.endswith(":2")
    ]
    whole = next(iter(texts([20], tokens_per_batch=100))).targets["echo"].values
    assert len(pieces) == 3
    assert torch.equal(torch.cat(pieces), whole)
    assert running.report.long == {"split": 1}


def test_media_spans_are_never_cut() -> None:
    media = Media("image", {"pixels": torch.zeros(1)}, 49, 49)
    sample = Sample("t", (Ids((1,) * 10), media, Ids((2,) * 80)), torch.arange(40))
    size = sizes(sample, ["t"])
    assert (size.stream, size.target, size.total) == (139, 40, 179)
    cut = truncate(sample, size, 100)
    assert sizes(cut, ["t"]).total == 100
    assert cut.parts[0] == sample.parts[0]
    assert cut.parts[1] is media
    assert cut.target is not None
    assert [len(cut.parts[2].ids), len(cut.target)] == [21, 20]
    pieces = split(sample, size, 120)
    assert [sizes(piece, ["t"]).total for piece in pieces] == [120, 120, 120, 116]
    assert all(piece.parts[1] is media for piece in pieces)
    with pytest.raises(mmkit.SampleError) as caught:
        truncate(sample, size, 50)
    assert str(caught.value) == (
        "179 tokens do not fit in tokens_per_batch = 50, and only 130 of them are text that could be cut; raise "
        "tokens_per_batch, or set long_samples: drop"
    )
    with pytest.raises(mmkit.SampleError) as caught:
        split(sample, size, 99)
    assert str(caught.value) == (
        "179 tokens do not fit in tokens_per_batch = 99; splitting the longest text keeps everything else in every "
        "piece, and that alone has 99; raise tokens_per_batch, or set long_samples: truncate or drop"
    )


def test_targets_that_never_run_through_the_backbone_cost_nothing() -> None:
    sample = Sample("label", (Ids((1, 2, 3)),), torch.arange(40))
    assert sizes(sample, ["other"]).total == 3


def test_what_cannot_be_cut_is_a_bad_row(texts: Any) -> None:
    running = texts([3, 40], {"on_bad_sample": "skip"}, tokens_per_batch=30, long_samples="split")
    bad = [bad for batch in running for bad in batch.bad]
    assert [(b.address, b.reason) for b in bad] == [
        (
            f"{running.sources[0].name}:2",
            "82 tokens do not fit in tokens_per_batch = 30; splitting the longest text keeps everything else in every "
            "piece, and that alone has 41; raise tokens_per_batch, or set long_samples: truncate or drop",
        )
    ]


def test_steps_of_an_epoch_are_counted_or_told_from_its_first_rows(texts: Any) -> None:
    counts = (np.random.default_rng(0).integers(1, 12, 2000)).tolist()
    small = texts(counts[:100], tokens_per_batch=200)
    small = loader(
        build(spec_of([{"task": "echo", "path": small.sources[0].name}])),
        small.sources,
        stage(tokens_per_batch=200),
        total_samples=100,
        seed=0,
    )
    exact = sum(2 * n + 2 for n in counts[:100]) / 200
    assert exact <= small.steps(1) <= exact + 2
    assert small.steps(4) == -(-small.steps(1) // 4)
    large = texts(counts, tokens_per_batch=200)
    large.total = 2000
    large.seed = 0
    exact = sum(2 * n + 2 for n in counts) / 200
    assert large.steps(1) == pytest.approx(exact, rel=0.05)


def test_steps_of_fixed_batches(texts: Any) -> None:
    running = texts([1] * 10, batch_size=4)
    running.total = 25
    assert (running.steps(1), running.steps(2)) == (7, 4)
    running.total = None
    with pytest.raises(mmkit.DataError) as caught:
        running.steps(1)
    assert str(caught.value) == "the number of steps is not known without total_samples; give steps"


def test_with_a_seed_and_a_budget_there_is_no_end(texts: Any) -> None:
    running = texts([3, 4, 5], tokens_per_batch=30)
    again = loader(
        build(spec_of([{"task": "echo", "path": running.sources[0].name}])),
        running.sources,
        stage(tokens_per_batch=30),
        total_samples=3,
        seed=0,
    )
    assert len(list(islice(again, 20))) == 20


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 4, "tokens_per_batch": 100}, "give either batch_size or tokens_per_batch"),
        ({"lookahead": 10}, "lookahead needs tokens_per_batch"),
        ({"batch_size": 4, "long_samples": "drop"}, "long_samples needs tokens_per_batch"),
    ],
)
def test_a_stage_packs_in_one_way(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        stage(**fields)
    assert [error["msg"] for error in caught.value.errors()] == [f"Value error, {message}"]
    assert (stage().batch_size, stage(tokens_per_batch=9).batch_size) == (32, None)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stage_trains_by_token_budget_over_streamed_rows(tmp_path: Path, workers: int) -> None:
    rows = [{"text": "a b " * (1 + n % 5), "label": ["neg", "pos"][n % 2]} for n in range(60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"task": "mood", "path": str(tmp_path / "rows.jsonl"), "streaming": True}
    spec = spec_of([source], workers=workers)
    spec["modalities"].pop("sensor")
    spec["tasks"] = {"mood": {**spec["tasks"]["mood"], "input": "{text}"}}
    spec["train"] = {"stages": [{"name": "a", "steps": 3, "tokens_per_batch": 40}]}
    said: list[str] = []
    mmkit.train(spec, output=tmp_path / "model", say=said.append)
    assert any("% full" in line for line in said)
