"""``mmkit.explain``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmkit.errors import MmkitError
from mmkit.explaining.attribute import AT_ONCE, MOST_COLUMNS, integrated_gradients, shapley
from mmkit.explaining.explanation import Column, Explanation, Output, Part
from mmkit.explaining.inputs import EMBEDDED, Inputs
from mmkit.explaining.look import attentive, look
from mmkit.explaining.question import Question, pieces_of, question
from mmkit.model.batch import Ids, Media
from mmkit.model.model import Model


def explain(
    model: Model,
    task: str,
    sample: Mapping[str, Any],
    *,
    target: Any = None,
    steps: int = 32,
    root: str | Path | None = None,
    each_output: bool = False,
    attention: bool = False,
) -> Explanation:
    """Say what in a sample made a model give its answer.

    Args:
        sample: a mapping of columns, as for ``model.predict``.
        target: the answer that is explained, such as a label or a text; None: the one that the model gives.
        steps: passes of integrated gradients; more of them make the error smaller.
        root: folder that files must be in.
        each_output: explain every id of a generated answer by itself, too; takes as many times as long.
        attention: show where the backbone looked, too. The weights of every layer are kept for it: heads × rows² numbers.

    Raises:
        MmkitError: there is no such task, its head cannot be explained or has no such answer, Captum is missing, or
            attention is asked of a backbone that has none to show.
        SampleError: a column is missing or a value cannot be used.
    """
    model.known(task)
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise MmkitError(f"steps is a whole number above 0, got {steps!r}")
    was = model.training
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    try:
        asked = question(model, task, sample, target, root)
        for parameter in trained:  # only the inputs need gradients
            parameter.requires_grad_(False)
        with torch.enable_grad():
            return _explained(asked, sample, steps, each_output, attention)
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        model.train(was)


def _explained(asked: Question, row: Mapping[str, Any], steps: int, each_output: bool, attention: bool) -> Explanation:
    backbone = attentive(asked.model, asked.task) if attention else None
    inputs = Inputs(asked.model, asked.task, asked.sample, asked)
    values, baselines = [given.value for given in inputs.all], [given.baseline for given in inputs.all]

    def total(given: Sequence[Tensor]) -> Tensor:
        return asked(inputs.run(given)).sum(1)

    found = integrated_gradients(total, values, baselines, steps)
    with torch.no_grad():
        ends = inputs.run([torch.stack(pair) for pair in zip(baselines, values, strict=True)])
        low, high = asked(ends).double().cpu()
    columns = _columns(asked, inputs, row, found)
    outputs = tuple(
        Output(text, float(score), _of_output(asked, inputs, steps, index) if each_output else {})
        for index, (text, score) in enumerate(zip(asked.outputs, high.tolist(), strict=True))
    )
    looked = None if backbone is None else look(asked, inputs, backbone)
    error = sum(float(part.sum()) for part in found) - float(high.sum() - low.sum())
    return Explanation(
        asked.task,
        asked.answer,
        asked.words,
        float(high.sum()),
        float(low.sum()),
        error,
        steps,
        columns,
        outputs,
        looked,
    )


def _of_output(asked: Question, inputs: Inputs, steps: int, index: int) -> dict[str, tuple[Tensor, ...]]:
    def one(given: Sequence[Tensor]) -> Tensor:
        return asked(inputs.run(given))[:, index]

    found: dict[str, tuple[Tensor, ...]] = {}
    values, baselines = [given.value for given in inputs.all], [given.baseline for given in inputs.all]
    for given, part in zip(inputs.all, integrated_gradients(one, values, baselines, steps), strict=True):
        part = part.sum(-1) if given.key == EMBEDDED else part
        found[given.column] = (*found.get(given.column, ()), part)
    return found


def _columns(asked: Question, inputs: Inputs, row: Mapping[str, Any], found: Sequence[Tensor]) -> tuple[Column, ...]:
    names = list(dict.fromkeys(column for column, _ in inputs.columns.values()))
    worths = _shapley(asked, inputs, names)
    parts: dict[str, list[Part]] = {name: [] for name in names}
    for given, attribution in zip(inputs.all, found, strict=True):
        pieces: tuple[str, ...] = ()
        if given.key == EMBEDDED:
            attribution = attribution.sum(-1)
            run = asked.sample.parts[given.slot]
            assert isinstance(run, Ids)
            pieces = pieces_of(asked, given.modality, run)
        value = given.value.detach().float().cpu()
        item = sum(part.key == given.key for part in parts[given.column])
        parts[given.column].append(Part(given.key, value, attribution, pieces, item))
    modality_of, whole = asked.model.plan.tasks[asked.task].modality_of, sum(float(p.abs().sum()) for p in _flat(parts))
    readers: dict[str, Any] = {**asked.model.vocabularies, **asked.model.processors()}
    return tuple(
        Column(
            name,
            modality_of[name],
            asked.model.plan.modalities[modality_of[name]].kind,
            row[name],
            tuple(parts[name]),
            sum(float(part.attribution.abs().sum()) for part in parts[name]) / whole if whole else 0.0,
            worths[index] if worths else None,
            readers.get(modality_of[name]),
            _items(asked, inputs, name),
        )
        for index, name in enumerate(names)
    )


def _items(asked: Question, inputs: Inputs, name: str) -> tuple[Any, ...]:
    parts = (asked.sample.parts[slot] for slot, (column, _) in inputs.columns.items() if column == name)
    return tuple(part.item for part in parts if isinstance(part, Media))


def _flat(parts: Mapping[str, Sequence[Part]]) -> list[Tensor]:
    return [part.attribution for own in parts.values() for part in own]


def _shapley(asked: Question, inputs: Inputs, names: Sequence[str]) -> list[float]:
    """Of every column; nothing where there are too many."""
    if len(names) > MOST_COLUMNS:
        return []

    @torch.no_grad()
    def worth(sets: Sequence[frozenset[int]]) -> list[float]:
        found: list[float] = []
        for start in range(0, len(sets), AT_ONCE):
            some = sets[start : start + AT_ONCE]
            values = []
            for given in inputs.all:
                place = names.index(given.column)
                values.append(torch.stack([given.value if place in chosen else given.baseline for chosen in some]))
            found += asked(inputs.run(values)).double().sum(1).tolist()
        return found

    return shapley(worth, len(names))
