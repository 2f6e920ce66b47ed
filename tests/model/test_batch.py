"""Packing: where every token of every stream is found, whatever is interleaved, repeated or absent."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from mmkit import Item, Processor
from mmkit.model.batch import BadSample, Ids, Media, PackedBatch, Sample, pack


class Numbers(Processor):
    """Items are lists of numbers; every number is a token."""

    def __call__(self, raw: Any) -> Item:
        return {"values": torch.tensor(raw)}

    def num_features(self, item: Item) -> int:
        return int(item["values"].shape[0])

    def collate(self, items: Sequence[Item]) -> Any:
        lengths = torch.tensor([item["values"].shape[0] for item in items])
        return {"values": torch.cat([item["values"] for item in items]), "value_lengths": lengths}


NUMBERS = Numbers()
PROCESSORS = {"image": NUMBERS, "audio": NUMBERS, "ecg": NUMBERS}


def media(modality: str, *values: int) -> Media:
    return Media(modality, NUMBERS(list(values)), len(values), len(values))


def sample(*parts: Ids | Media, task: str = "a", target: Sequence[int] | None = None) -> Sample:
    return Sample(task, parts, None if target is None else torch.tensor(target), reference=task, address=f"{task}:1")


def streams(batch: PackedBatch) -> list[list[int]]:
    """Every stream read back from the one table of ids and tokens."""
    table = torch.cat([batch.ids, *(batch.items[name]["values"] for name in batch.items)])  # type: ignore[list-item]
    return [row.tolist() for row in table[batch.stream].split(batch.stream_lengths.tolist())]


def test_interleaved_parts_come_back_in_order() -> None:
    batch = pack(
        [
            sample(Ids((1, 2)), media("image", 50, 51), Ids((3,)), media("audio", 70), media("image", 52)),
            sample(media("audio", 71, 72), Ids((4,)), media("audio", 73), media("image", 53, 54, 55), Ids((5, 6))),
        ],
        PROCESSORS,
    )
    assert streams(batch) == [[1, 2, 50, 51, 3, 70, 52], [71, 72, 4, 73, 53, 54, 55, 5, 6]]
    assert batch.owners == {"image": [0, 0, 1], "audio": [0, 1, 1]}
    assert {name: rows.tolist() for name, rows in batch.tokens.items()} == {"image": [2, 1, 3], "audio": [1, 2, 1]}
    assert {name: rows.tolist() for name, rows in batch.features.items()} == {"image": [2, 1, 3], "audio": [1, 2, 1]}


def test_an_absent_modality_has_no_entry_at_all() -> None:
    batch = pack([sample(Ids((1,))), sample(Ids((2, 3)), media("ecg", 9)), sample(Ids(()))], PROCESSORS)
    assert streams(batch) == [[1], [2, 3, 9], []]
    assert list(batch.items) == ["ecg"]
    assert batch.owners == {"ecg": [1]}
    assert streams(pack([sample(Ids((1,)))], PROCESSORS)) == [[1]]


@pytest.mark.parametrize("samples", [[], [sample()], [sample(), sample()]], ids=["none", "one", "two"])
def test_a_batch_without_tokens_is_a_batch(samples: list[Sample]) -> None:
    batch = pack(samples, PROCESSORS)
    assert streams(batch) == [[] for _ in samples]
    assert batch.stream.dtype == batch.ids.dtype == batch.stream_lengths.dtype == torch.int64
    assert (batch.items, batch.targets) == ({}, {})


def test_any_mixture_equals_laying_out_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(high: int) -> int:
        return int(torch.randint(high, (), generator=generator))

    for _ in range(30):
        count, number, samples, expected = draw(6), 0, [], []
        for _ in range(count):
            parts: list[Ids | Media] = []
            row: list[int] = []
            for _ in range(draw(6)):
                values = tuple(range(number, number + draw(4)))
                number += len(values)
                kind = ("ids", "image", "audio", "ecg")[draw(4)]
                parts.append(Ids(values) if kind == "ids" else media(kind, *values))
                row += values
            samples.append(sample(*parts))
            expected.append(row)
        assert streams(pack(samples, PROCESSORS)) == expected


def test_targets_are_kept_per_task_and_counted_in_the_heads_unit() -> None:
    batch = pack(
        [
            sample(Ids((1,)), task="say", target=[5, 6, 7]),
            sample(Ids((2,)), task="mood", target=[1]),
            sample(Ids((3,)), task="say", target=[8]),
            sample(Ids((4,)), task="pair"),
        ],
        PROCESSORS,
        autoregressive=["say"],
    )
    assert batch.tasks == ("say", "mood", "say", "pair")
    assert {task: [row.tolist() for row in target.split()] for task, target in batch.targets.items()} == {
        "say": [[5, 6, 7], [8]],
        "mood": [[1]],
    }
    assert batch.denominators == {"say": 4, "mood": 1, "pair": 1}
    assert batch.of_task("say") == [0, 2]
    assert batch.references == ("say", "mood", "say", "pair")


def test_bad_samples_are_carried_by_name_and_take_no_place() -> None:
    bad = BadSample("rows.jsonl:2", "empty")
    batch = pack([sample(Ids((1,))), bad, sample(Ids((2,)))], PROCESSORS)
    assert streams(batch) == [[1], [2]]
    assert batch.bad == (bad,)
    assert batch.addresses == ("a:1", "a:1")


def test_moving_a_batch_keeps_lengths_on_the_cpu() -> None:
    batch = pack([sample(Ids((1,)), media("image", 5), task="say", target=[1])], PROCESSORS).to("meta")
    assert batch.ids.device.type == batch.stream.device.type == "meta"
    assert batch.items["image"]["values"].device.type == "meta"  # type: ignore[union-attr]
    assert batch.items["image"]["value_lengths"].device.type == "cpu"  # type: ignore[union-attr]
    assert batch.targets["say"].lengths.device.type == batch.stream_lengths.device.type == "cpu"
