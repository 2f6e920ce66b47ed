"""A whole model around the component under test."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mmkit.model.batch import PackedBatch, pack
from mmkit.model.build import build
from mmkit.model.model import Model
from mmkit.testing.bench import registry
from mmkit.testing.subject import WIDTH, WORDS, Subject
from mmkit.wiring.planner import plan

NUMBERS = ([0.5] * 40, [float(n % 7) for n in range(57)], [1.0, -1.0] * 18)
TASK = "task"


def example(subject: Subject) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """A spec with the component, and samples with every column."""
    if subject.case.spec is not None:
        return subject.case.spec, list(subject.case.rows)
    component, raws = subject.component, getattr(subject, "raws", [])
    use = {"use": component.full_name, **{k: _plain(v) for k, v in subject.given.items()}}
    numbers: dict[str, Any] = {"encoder": {"use": "bench-numbers", "dim": WIDTH}, "adapter": "bench-linear"}
    letters = {"adapter": "bench-letters"}
    count = max(3, len(raws))
    columns: dict[str, Sequence[Any]] = {"a": [NUMBERS[i % 3] for i in range(count)], "y": [0.5, -1.0, 2.0] * count}
    task: dict[str, Any] = {"input": "{a}", "output": "{y}", "head": "bench-number"}
    spec: dict[str, Any] = {"mmkit": 1, "modalities": {"a": numbers}, "backbone": {"use": "bench-recurrent"}}
    if component.kind == "encoder":
        spec["modalities"] = {"a": {"encoder": use, "adapter": "bench-linear"}}
        columns["a"] = raws
    elif component.kind == "adapter":
        spec["modalities"] = {"a": {**numbers, "adapter": use}}
    elif component.kind == "vocabulary":
        spec["modalities"] = {"a": {"adapter": use}}
        columns["a"] = columns["y"] = raws
        task |= {"columns": {"y": "a"}, "head": "bench-spell"}
    elif component.kind == "continuous":
        spec["modalities"] = {"a": numbers, "values": {"adapter": use}}
        columns["y"] = raws
        task |= {"columns": {"y": "values"}, "head": "bench-write"}
    elif component.kind == "backbone":
        spec |= {"modalities": {"a": letters}, "backbone": use}
        columns["a"] = [WORDS[i % len(WORDS)] for i in range(count)]
        if component.generates:
            columns["y"] = columns["a"]
            task |= {"columns": {"y": "a"}, "head": "bench-spell"}
    else:
        _around_head(spec, task, columns, subject, use)
    spec["tasks"] = {TASK: task}
    rows: list[Mapping[str, Any]] = [{name: values[i] for name, values in columns.items()} for i in range(count)]
    return spec, rows


def _around_head(
    spec: dict[str, Any], task: dict[str, Any], columns: dict[str, Sequence[Any]], subject: Subject, use: Any
) -> None:
    component, raws = subject.component, getattr(subject, "raws", [])
    task["head"] = use
    if all(raw is None for raw in raws):
        del task["output"]
    else:
        columns["y"] = raws
    if component.spells:
        spec["modalities"] = {**spec["modalities"], "text": {"adapter": "bench-letters"}}
        task["columns"] = {"y": "text"}
    if component.continuous:
        spec["modalities"] = {**spec["modalities"], "values": {"adapter": "bench-quads"}}
        task["columns"] = {"y": "values"}
    if component.autoregressive:
        return
    del spec["backbone"]
    names = [chr(ord("a") + n) for n in range(component.reads)]
    numbers = {"encoder": {"use": "bench-numbers", "dim": WIDTH}}
    spec["modalities"] |= dict.fromkeys(names, numbers)
    task |= {"input": "".join(f"{{{name}}}" for name in names), "reads": [f"{name}.encoder" for name in names]}
    for name in names:
        columns[name] = columns["a"]


def assemble(subject: Subject) -> tuple[Model, list[Mapping[str, Any]]]:
    """The model of the example, always with the same weights, and its samples.

    Raises:
        SpecError: the example does not fit together.
    """
    spec, rows = example(subject)
    fit = {name: [row[name] for row in rows if name in row] for name in spec["modalities"]}
    return build(plan(spec, registry(), root=subject.folder), fit=fit, seed=0), rows


def packed(model: Model, rows: Sequence[Mapping[str, Any]]) -> PackedBatch:
    """The samples of the example's first task as a batch."""
    task = next(iter(model.plan.tasks))
    prepare = model.preparer()
    autoregressive = [name for name, head in model.parts.heads.items() if head.autoregressive]
    return pack([prepare(task, row) for row in rows], model.processors(), autoregressive)


def answers(model: Model, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Predictions for the samples."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return list(model.predict(next(iter(model.plan.tasks)), rows))


def _plain(value: Any) -> Any:
    """Options as a YAML file holds them."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return str(value) if isinstance(value, Path) else value
