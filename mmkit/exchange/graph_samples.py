"""Rows that an exported graph is tried on: of the run's data where that is there, else of the components' own examples."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from mmkit.data.sources import open_source
from mmkit.errors import MmkitError, SampleError
from mmkit.interfaces import HasExample
from mmkit.model.batch import Ids, Media, Sample
from mmkit.model.model import Model
from mmkit.ragged import Ragged
from mmkit.spec.schema import Data
from mmkit.spec.template import Slot

ROWS = 6
"""Rows of the data that are looked at."""
SPELT = 12
"""Ids that are spelt where a vocabulary has no example."""
MADE = 4
"""Samples made of them, shorter and with noise, so that lengths differ whatever the data is."""


def samples_of(model: Model, task: str) -> tuple[list[Sample], str]:
    """Prepared samples without targets, of different lengths where they can have such, and where they are from.

    Raises:
        MmkitError: there is no data, and a component has no example.
    """
    found, source = list(islice(_of_data(model, task), ROWS)), "rows of the data"
    if not found:
        found, source = [model.preparer()(task, _example(model, task), target=False)], "examples of the components"
    draw = torch.Generator().manual_seed(0)
    made = [_varied(model, task, found[number % len(found)], draw) for number in range(MADE)]
    return [*found, *made], source


def _of_data(model: Model, task: str) -> Iterator[Sample]:
    """Of the first part of the data that has rows of this task which can be used here."""
    data = model.plan.spec.data or Data()
    for part in ("valid", "test", "train"):
        empty = True
        for index, given in enumerate(getattr(data, part)):
            if given.task != task:
                continue
            try:
                offered = model.plan.beside_at(("data", part, index, "source")) if given.source else None
                rows = open_source(given, data, model.plan.source.root, offered)
                prepare = model.preparer(rows.root)
                for row in rows.first(4 * ROWS):
                    try:
                        yield prepare(task, row, target=False)
                        empty = False
                    except SampleError:
                        continue
            except MmkitError:  # moved, or of a plugin that is not installed
                continue
        if not empty:
            return


def _example(model: Model, task: str) -> dict[str, Any]:
    planned = model.plan.tasks[task]
    return {column: _raw(model, task, modality) for column, modality in planned.modality_of.items()}


def _raw(model: Model, task: str, modality: str) -> Any:
    """What a component shows; of a vocabulary without an example, what some of its ids spell."""
    vocabulary = model.vocabularies.get(modality)
    known = vocabulary or model.parts.encoders[modality].processor()
    if isinstance(known, HasExample):
        return known.example()[1]
    if vocabulary is not None:
        own = [number for number in range(vocabulary.size) if number not in (vocabulary.begin_id, vocabulary.end_id)]
        return vocabulary.decode(own[:: max(1, len(own) // SPELT)][:SPELT])
    raise MmkitError(
        f"task {task!r}: there is nothing to try the graph on: no row of the spec's data can be read, and modality "
        f"{modality!r} shows no example; export where the data is"
    )


def _varied(model: Model, task: str, sample: Sample, draw: torch.Generator) -> Sample:
    """Shorter, shuffled and with noise; a column that is there twice is so in both places."""
    parts: list[Ids | Media] = []
    known: dict[str, Ids | Media] = {}
    for part, made in zip(model.plan.tasks[task].parts, sample.parts, strict=True):
        if not isinstance(part, Slot):
            parts.append(made)
            continue
        if part.column in known:
            parts.append(known[part.column])
            continue
        if isinstance(made, Ids):
            order = torch.randperm(len(made.ids), generator=draw).tolist()
            parts.append(Ids(tuple(made.ids[at] for at in order[: _some(len(made.ids), draw)]), made.whole))
        else:
            parts.append(_varied_media(model, made, draw))
        known[part.column] = parts[-1]
    return replace(sample, parts=tuple(parts))


def _varied_media(model: Model, made: Media, draw: torch.Generator) -> Media:
    """Other values, and fewer rows where the processor and the adapter take so many."""
    processor, adapter = (
        model.parts.encoders[made.modality].processor(),
        model.parts.adapters.get(f"{made.modality}.adapter"),
    )
    batch = processor.collate([made.item])
    cut = {key for key in batch if f"{key}_lengths" in batch or isinstance(batch[key], Ragged)} & made.item.keys()
    noisy = {key: _noisy(value, draw) for key, value in made.item.items()}
    share = _some(100, draw) / 100
    shorter = {key: value[: max(1, int(len(value) * share))] if key in cut else value for key, value in noisy.items()}
    for item in (shorter, noisy):
        try:
            features = processor.num_features(item)
            model.parts.encoders[made.modality](processor.collate([item]))
            tokens = features if adapter is None else adapter.num_tokens(features)
        except Exception:  # too short for this encoder, whatever it says of it
            continue
        return replace(made, item=item, features=features, tokens=tokens)
    return made


def _noisy(value: Tensor, draw: torch.Generator) -> Tensor:
    if not value.is_floating_point():
        return value[torch.randperm(len(value), generator=draw)] if value.dim() else value
    spread = float(value.std()) if value.numel() > 1 else 0.0
    return value + max(0.1, spread) * torch.randn(value.shape, generator=draw, dtype=value.dtype)


def _some(most: int, draw: torch.Generator) -> int:
    """From half of it, rounded up, to all."""
    return int(torch.randint((most + 1) // 2, most + 1, (), generator=draw)) if most else 0
