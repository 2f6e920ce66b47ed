"""Tasks of a model as graphs of torch.export or ONNX, each run again and compared before it counts as written."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.export import ExportedProgram

from mmkit.errors import MmkitError, PluginError, nearest
from mmkit.exchange.graph_check import largest_difference, onnx_runner, torch_runner
from mmkit.exchange.graph_inputs import modalities_of, places_of, tensors_of, without
from mmkit.exchange.graph_module import Graph, Question
from mmkit.exchange.graph_onnx import need_onnx, save_onnx
from mmkit.exchange.graph_samples import samples_of
from mmkit.exchange.graph_signature import SIGNATURE, described, signature
from mmkit.exchange.graph_trace import cause, limits, trace, unread
from mmkit.exchange.hf_build import save_assets
from mmkit.exchange.hf_export import fresh_folder
from mmkit.interfaces import TaskHead
from mmkit.model.batch import Sample
from mmkit.model.compact import require_whole
from mmkit.model.lora import merge
from mmkit.model.model import Model
from mmkit.ragged import NeedsLengthsError, Ragged

Form = Literal["torch", "onnx"]
SUFFIX = {"torch": "pt2", "onnx": "onnx"}


@dataclass(frozen=True)
class Exported:
    """One graph that was written.

    Attributes:
        file: its name. task: that it is of. difference: the largest one from the model's own numbers.
        rows, source: what it was tried on.
    """

    file: str
    task: str
    difference: float
    rows: int
    source: str


def export_graphs(
    model: Model, out: Path, form: Form, tasks: Sequence[str] = ()
) -> tuple[list[Exported], dict[str, str]]:
    """Write a folder of graphs, ``signature.json`` and the components' assets; what was written, and the tasks that were left out
    with the reason. The model is in float32 and in evaluation mode afterwards.

    Args:
        tasks: names; none: all that can be exported.

    Raises:
        MmkitError: the folder is there already, a named task is not there or cannot be exported, or none can, or a graph does not
            give the model's numbers. PluginError: a component cannot be traced.
    """
    require_whole(model, "exported")
    chosen, left = _chosen(model, tasks)
    if form == "onnx":
        need_onnx()
    merge(model)
    model.float().eval()
    with fresh_folder(out) as folder:
        tried = {task: samples_of(model, task) for task in chosen}
        questions = _filed(
            [(one, *tried[task]) for task in chosen for one in _questions(model, task, tried[task][0][0])]
        )
        done, texts = [], []
        for question, samples, source in questions:
            exported, text = _write(model, question, samples, source, folder, form)
            done.append(exported)
            texts.append(text)
        save_assets(model, folder)
        (folder / SIGNATURE).write_text(
            json.dumps(signature(form, texts), indent=2, ensure_ascii=False) + "\n", "utf-8"
        )
    return done, left


def refusal(model: Model, task: str) -> str | None:
    """Why a task is no graph; None: it may be one."""
    head, component = model.parts.heads[task], model.plan.tasks[task].head.component
    who = f"head {component.name!r} of plugin {component.plugin!r}"
    if head.autoregressive:
        return f"{who} generates, which is a loop with a memory and no single pass; mmkit export hf keeps generate()"
    if head.draws:
        return f"{who} draws at random in a loop, which is no single pass"
    if type(head).outputs is TaskHead.outputs:
        return f"{who} gives no tensors (it has no outputs)"
    return None


def _chosen(model: Model, tasks: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    known = list(model.plan.tasks)
    for task in tasks:
        if task not in known:
            raise MmkitError(f"there is no task {task!r}: {nearest(task, known)}")
    reasons = {task: reason for task in known if (reason := refusal(model, task)) is not None}
    able = [task for task in known if task not in reasons]
    for task in tasks:
        if task in reasons:
            can = f"these can: {', '.join(able)}" if able else "none of this model's tasks can"
            raise MmkitError(f"task {task!r} cannot be exported as a graph: {reasons[task]}; {can}")
    if not able:
        said = "".join(f"\n  task {task!r}: {reason}" for task, reason in reasons.items())
        raise MmkitError(f"no task of this model can be exported as a graph:{said}")
    return (list(dict.fromkeys(tasks)), {}) if tasks else (able, reasons)


def _questions(model: Model, task: str, sample: Sample) -> list[Question]:
    """One graph; of a head that embeds, one for every node that it reads, which is used alone."""
    planned, head = model.plan.tasks[task], model.parts.heads[task]
    if not head.embeds:
        return [Question(task, task, planned.reads, _places(model, task, sample, planned.reads), head.outputs)]
    found = []
    for place, node in enumerate(planned.reads):
        places = _places(model, task, sample, (node,))
        columns = [one.column for one in places if one.column]
        found.append(Question("-".join([task, *columns]), task, (node,), places, _Embed(head, place)))
    names = [question.name for question in found]
    if len(set(names)) < len(names):
        found = [replace(question, name=f"{task}-{'ab'[place]}") for place, question in enumerate(found)]
    return found


def _filed(given: Sequence[tuple[Question, list[Sample], str]]) -> list[tuple[Question, list[Sample], str]]:
    """With names that files may have, each another: the only one is ``model``."""
    if len(given) == 1:
        return [(replace(given[0][0], name="model"), *given[0][1:])]
    found: dict[str, tuple[Question, list[Sample], str]] = {}
    for question, samples, source in given:
        name = plain = re.sub(r"[^\w .-]", "-", question.name)
        number = 2
        while name.lower() in found:
            name, number = f"{plain}-{number}", number + 1
        found[name.lower()] = (replace(question, name=name), samples, source)
    return list(found.values())


@dataclass(frozen=True)
class _Embed:
    """The embedding of one of a head's nodes."""

    head: TaskHead
    place: int

    def __call__(self, features: Sequence[Ragged]) -> dict[str, Any]:
        return {"embedding": self.head.embed_one(self.place, features[0])}


def _places(model: Model, task: str, sample: Sample, nodes: Sequence[str]) -> Any:
    read = [modalities_of(model, model.plan.tasks[task], node) for node in nodes]
    every = None if None in read else {name for names in read if names is not None for name in names}
    return places_of(model, task, sample, every)


def _write(
    model: Model, question: Question, samples: Sequence[Sample], source: str, folder: Path, form: Form
) -> tuple[Exported, dict[str, Any]]:
    question, graph, given, program = _traced(model, question, samples)
    file = f"{question.name}.{SUFFIX[form]}"
    if form == "torch":
        torch.export.save(program, folder / file)
        run = torch_runner(folder / file)
    else:
        save_onnx(program, graph, folder / file)
        run = onnx_runner(folder / file)
    worst = largest_difference(model, question, run, samples)
    exported = Exported(file, question.task, worst, len(samples), source)
    text = {**described(model, graph, file, given, run), "limits": limits(program, graph)}
    return exported, {**text, "checked": {"rows": len(samples), "of": source, "largest_difference": worst}}


def _traced(
    model: Model, question: Question, samples: Sequence[Sample]
) -> tuple[Question, Graph, dict[str, Tensor], ExportedProgram]:
    """The program, of the inputs that it reads."""
    graph, alone = Graph(model, question).eval(), bool(question.alone)
    given = tensors_of(model, question.places, samples[:1] if alone else samples[-3:], alone, least=2)
    program = None
    try:
        program = trace(graph, given)
    except PluginError as error:
        node = graph.progress.at.node if graph.progress.at is not None else ""
        if not isinstance(cause(error), NeedsLengthsError) or node in ("", *question.alone):
            raise
    if program is None:
        return _traced(model, replace(question, alone=question.alone | {node}), samples)
    idle = unread(program)
    if not idle:
        return question, graph, given, program
    return _traced(model, replace(question, places=without(question.places, idle)), samples)
