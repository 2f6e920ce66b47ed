"""Where every token of every stream is found in the batch's table of ids and media tokens."""

import random
from collections.abc import Sequence
from typing import Any

import torch

from mmkit.interfaces import Batch, Item, Processor
from mmkit.model.batch import BadSample, Ids, Media, Sample, pack


class Counting(Processor):
    """A processor whose items are their own number."""

    def __call__(self, raw: Any) -> Item:
        return {"n": torch.tensor(raw)}

    def num_features(self, item: Item) -> int:
        return 7

    def collate(self, items: Sequence[Item]) -> Batch:
        return {"n": torch.stack([item["n"] for item in items])}


def test_streams_of_interleaved_ids_and_media_are_found_again() -> None:
    rng = random.Random(0)
    samples: list[Sample | BadSample] = []
    labels: list[list[tuple[str, int]]] = []
    made = {"image": 0, "ecg": 0}
    next_id = 0
    for _ in range(30):
        parts: list[Ids | Media] = []
        label: list[tuple[str, int]] = []
        for _ in range(rng.randint(0, 4)):
            kind, count = rng.choice(["ids", "image", "ecg"]), rng.randint(0, 3)
            if kind == "ids":
                parts.append(Ids(tuple(range(next_id, next_id + count))))
                label += [("ids", next_id + k) for k in range(count)]
                next_id += count
            else:
                parts.append(Media(kind, {"n": torch.tensor(made[kind])}, 7, count))
                label += [(kind, made[kind] + k) for k in range(count)]
                made[kind] += count
        samples.append(Sample("t", tuple(parts)))
        labels.append(label)
    samples.insert(3, BadSample("x:1", "broken"))
    batch = pack(samples, {name: Counting() for name in made})
    table = [("ids", n) for n in batch.ids.tolist()]
    for name in batch.items:
        table += [(name, n) for n in range(int(batch.tokens[name].sum()))]
    streams = [piece.tolist() for piece in batch.stream.split(batch.stream_lengths.tolist())]
    assert [[table[place] for place in stream] for stream in streams] == labels
    assert batch.bad == (BadSample("x:1", "broken"),)


def test_nothing_packs_to_an_empty_batch() -> None:
    batch = pack([], {})
    assert (batch.tasks, batch.ids.tolist(), batch.stream.tolist(), batch.stream_lengths.tolist()) == ((), [], [], [])
    assert batch.ids.dtype == batch.stream.dtype == batch.stream_lengths.dtype == torch.int64
