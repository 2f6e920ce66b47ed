"""Padded inputs as transformers has them ⇄ our packed batch.

``input_ids`` is a prompt and, of a task that generates, the begin id and the target behind it; ``token_type_ids`` is 1 from the
begin id on. In the place of an item's tokens stand ids behind the table's last one, one id a modality: no text is spelt so, and
nothing generates them. ``media`` has the items, a modality each::

    {"image": {"items": {"pixels": …}, "features": …, "tokens": …, "owners": …, "samples": …}}

A Ragged among the items is a mapping of its ``values`` and ``lengths``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from mmkit.errors import SampleError
from mmkit.model.batch import Ids, PackedBatch, Sample, pack
from mmkit.model.model import Model
from mmkit.model.prepare import Preparer
from mmkit.ragged import Ragged, padding_mask

IGNORED = -100
"""What labels hold where nothing is learnt; of torch and transformers."""
Tensors = Mapping[str, Any]


def padded(prepare: Preparer, size: int, samples: Sequence[Sample], targets: bool) -> dict[str, Any]:
    """What ``MmkitModel`` takes, of samples of one task.

    Args:
        size: rows of the shared table of ids. targets: with labels.
    """
    task = samples[0].task
    head, rows, kinds, labels = prepare.heads[task], [], [], []
    place = {name: size + at for at, name in enumerate(prepare.processors)}
    for sample in samples:
        row: list[int] = []
        for part in sample.parts:
            row += list(part.ids) if isinstance(part, Ids) else [place[part.modality]] * part.tokens
        prompt, wanted = len(row), sample.target.tolist() if targets and sample.target is not None else []
        if head.autoregressive:
            row += target_ids(prepare, task, wanted)
            labels.append(torch.tensor([IGNORED] * (prompt + 1) + row[prompt + 1 :]))
        elif sample.target is not None:
            labels.append(sample.target)
        kinds.append(torch.tensor([0] * prompt + [1] * (len(row) - prompt), dtype=torch.int64))
        rows.append(torch.tensor(row, dtype=torch.int64))
    ids, mask = Ragged.of(rows).to_padded(side="left")
    made: dict[str, Any] = {"input_ids": ids, "attention_mask": mask.long()}
    made["token_type_ids"] = Ragged.of(kinds).to_padded(side="left")[0].long()
    made["task_ids"] = torch.full((len(rows),), list(prepare.plan.tasks).index(task))
    if targets and labels:
        made["labels"] = Ragged.of(labels).to_padded(float(IGNORED), side="left" if head.autoregressive else "right")[0]
    media = media_of(pack(samples, prepare.processors), len(samples))
    return {**made, "media": media} if media else made


def target_ids(prepare: Preparer, task: str, target: Sequence[int]) -> list[int]:
    """The begin id and a target, as ids of the shared table."""
    name = prepare.plan.tasks[task].output_modality or ""
    offset = prepare.offsets[name]
    return [offset + number for number in (prepare.vocabularies[name].begin_id, *target)]


def media_of(batch: PackedBatch, samples: int) -> dict[str, Any]:
    """The items of a batch as nested mappings of tensors."""
    return {
        name: {
            "items": {
                key: {"values": value.values, "lengths": value.lengths} if isinstance(value, Ragged) else value
                for key, value in items.items()
            },
            "features": batch.features[name],
            "tokens": batch.tokens[name],
            "owners": torch.tensor(batch.owners[name]),
            "samples": torch.tensor(samples),
        }
        for name, items in batch.items.items()
    }


def copies(rows: int, media: Mapping[str, Tensors] | None) -> int:
    """How many rows stand for each sample: ``generate`` repeats rows for its beams, and media are encoded once.

    Raises:
        SampleError: the media belong to another number of samples.
    """
    for name, given in (media or {}).items():
        samples = int(given["samples"])
        if samples < 1 or rows % samples:
            raise SampleError(f"media {name!r} are of {samples} samples, input_ids has {rows} rows")
        return rows // samples
    return 1


def packed(model: Model, task: str, prompts: Ragged, media: Mapping[str, Tensors] | None) -> PackedBatch:
    """The batch of prompts, Int["total"], and of their media.

    Raises:
        SampleError: an item has another number of placeholders than tokens, in any sample.
    """
    media = media or {}
    size, ids = model.parts.vocabulary_size, prompts.values
    is_id = ids < size
    stream = torch.zeros_like(ids)
    stream[is_id] = torch.arange(int(is_id.sum()), device=ids.device)
    end, names = int(is_id.sum()), list(model.parts.encoders)
    for name in media:
        if name not in names:
            raise SampleError(f"media are of modality {name!r}; this model reads {', '.join(names) or 'none'}")
    media = {name: media[name] for name in names if name in media}  # in the order of the rows behind the ids
    for at, name in enumerate(names):
        here = ids == size + at
        found = Ragged(here, prompts.lengths).split()
        given = media.get(name)
        _check_slots(name, [int(one.sum()) for one in found], given)
        count = int(here.sum())
        stream[here] = torch.arange(end, end + count, device=ids.device)
        end += 0 if given is None else int(given["tokens"].sum())
    return PackedBatch(
        tasks=(task,) * len(prompts),
        items={name: _items(given["items"]) for name, given in media.items()},
        features={name: given["features"].cpu() for name, given in media.items()},
        tokens={name: given["tokens"].cpu() for name, given in media.items()},
        owners={name: given["owners"].tolist() for name, given in media.items()},
        ids=ids[is_id],
        stream=stream,
        stream_lengths=prompts.lengths,
        targets={},
    )


def _items(given: Tensors) -> dict[str, Tensor | Ragged]:
    return {
        key: Ragged(value["values"], value["lengths"].cpu()) if isinstance(value, Mapping) else _near(key, value)
        for key, value in given.items()
    }


def _near(key: str, value: Tensor) -> Tensor:
    return value.cpu() if key.endswith("lengths") else value


def _check_slots(name: str, slots: Sequence[int], given: Tensors | None) -> None:
    """Hold placeholders and tokens together, sample by sample."""
    tokens = [0] * len(slots)
    if given is not None:
        for owner, count in zip(given["owners"].tolist(), given["tokens"].tolist(), strict=True):
            tokens[owner] += count
    if tokens == list(slots):
        return
    at = next(n for n, (a, b) in enumerate(zip(slots, tokens, strict=True)) if a != b)
    raise SampleError(
        f"sample {at} has {slots[at]} placeholders of {name!r} and media for {tokens[at]}; "
        "give input_ids and media as the processor made them"
    )


def split(
    input_ids: Int[Tensor, "rows longest"], mask: Tensor | None, kinds: Tensor | None
) -> tuple[Ragged, Ragged, Tensor]:
    """The prompts, the targets (from the begin id on), and where the targets stand in the padded rows."""
    real = torch.ones_like(input_ids, dtype=torch.bool) if mask is None else mask.bool()
    target = torch.zeros_like(real) if kinds is None else kinds.bool() & real
    prompt = real & ~target
    prompts = Ragged(input_ids[prompt], prompt.sum(1).cpu())
    return prompts, Ragged(input_ids[target], target.sum(1).cpu()), target


def ragged_labels(labels: Tensor) -> Ragged:
    """Labels of a task that does not generate, padded on the right with ``IGNORED``."""
    lengths = (labels != IGNORED).sum(1).cpu()
    return Ragged(labels[padding_mask(lengths, labels.shape[1]).to(labels.device)], lengths)
