"""One task as a graph of fixed shapes: from the prepared items and ids of one sample to the tensors that its head predicts from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from mmkit.errors import MmkitError
from mmkit.interfaces import HasExample
from mmkit.model.batch import PackedBatch, pack
from mmkit.model.model import Model, Run
from mmkit.ragged import Ragged

_OURS = "lengths"
"""Entries of a batch whose key ends so are numbers of the CPU, and constants of the graph."""


@dataclass(frozen=True)
class Signature:
    """What goes in and comes out, in order: name → a tensor of that shape and type."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]

    def described(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            side: {
                name: {"shape": list(t.shape), "type": str(t.dtype).removeprefix("torch.")} for name, t in of.items()
            }
            for side, of in (("inputs", self.inputs), ("outputs", self.outputs))
        }


class OneSample(nn.Module):
    """A task on samples of one shape: that of ``row``.

    Raises:
        MmkitError: the task generates or draws, or its head gives no tensors.
    """

    def __init__(self, model: Model, task: str, row: Mapping[str, Any]) -> None:
        super().__init__()
        model.known(task)
        check_exportable(model, task)
        self.model, self.task = model, task
        self.batch: PackedBatch = pack([model.preparer()(task, row, target=False)], model.processors())
        self.slots = [(n, key) for n, item in self.batch.items.items() for key in item if not key.endswith(_OURS)]
        self.names: list[str] = []

    def inputs(self) -> dict[str, Tensor]:
        """The row's: items by modality and key, ids of the shared table."""
        found = {}
        for name, key in self.slots:
            value = self.batch.items[name][key]
            found[f"{name}_{key}"] = value.values if isinstance(value, Ragged) else value
        return {**found, "ids": self.batch.ids} if len(self.batch.ids) else found

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The head's outputs, in order; ``names`` says theirs."""
        items: dict[str, Any] = {name: dict(item) for name, item in self.batch.items.items()}
        for (name, key), tensor in zip(self.slots, tensors, strict=False):
            value = items[name][key]
            items[name][key] = value.replace(tensor) if isinstance(value, Ragged) else tensor
        ids = tensors[-1] if len(self.batch.ids) else self.batch.ids
        run = Run(self.model, replace(self.batch, items=items, ids=ids))
        features = [run.read(node, [0]) for node in self.model.plan.tasks[self.task].reads]
        given = self.model.parts.heads[self.task].outputs(features)
        self.names = list(given)
        return tuple(value.values if isinstance(value, Ragged) else value for value in given.values())

    def signature(self) -> Signature:
        """Of the row's shape."""
        inputs = self.inputs()
        with torch.no_grad():
            outputs = self(*inputs.values())
        return Signature(inputs, dict(zip(self.names, outputs, strict=True)))

    def others(self) -> list[tuple[Tensor, ...]]:
        """The row's tensors, and two of the same shape with other values: constants that should be inputs would show."""
        draw, own = torch.Generator().manual_seed(0), tuple(self.inputs().values())
        found = [own]
        for _ in range(2):
            found.append(tuple(_other(tensor, draw) for tensor in own))
        return found


def _other(tensor: Tensor, draw: torch.Generator) -> Tensor:
    order = torch.randperm(tensor.numel(), generator=draw)
    mixed = tensor.reshape(-1)[order].reshape(tensor.shape)
    return mixed * 0.7 + 0.1 * torch.randn(tensor.shape, generator=draw) if tensor.is_floating_point() else mixed


def check_exportable(model: Model, task: str) -> None:
    """Hold a task against what a graph can do.

    Raises:
        MmkitError: with the tasks that can be exported.
    """
    why = _reason(model, task)
    if why:
        able = [name for name in model.plan.tasks if not _reason(model, name)]
        raise MmkitError(
            f"task {task!r} cannot be exported as a graph: {why}; of this model can be: {', '.join(able) or 'no task'}. "
            "mmkit export hf has all tasks"
        )


def _reason(model: Model, task: str) -> str:
    head = model.parts.heads[task]
    if head.autoregressive:
        return "it generates id by id, which is a loop around the model and not one graph"
    if head.draws:
        return "its head draws its predictions in many steps"
    from mmkit.interfaces import TaskHead

    if type(head).outputs is TaskHead.outputs:
        return f"its head {type(head).__name__} gives no tensors (TaskHead.outputs)"
    return ""


def example_row(model: Model, task: str) -> dict[str, Any]:
    """A typical value of every input column, as processors and vocabularies show it.

    Raises:
        MmkitError: one shows none.
    """
    found: dict[str, Any] = {}
    for column, modality in model.plan.tasks[task].modality_of.items():
        if column not in model.plan.tasks[task].columns:
            continue
        shows = model.processors().get(modality) or model.vocabularies.get(modality)
        if not isinstance(shows, HasExample):
            raise MmkitError(f"modality {modality!r} shows no example of column {column!r}; give one with --row")
        found[column] = shows.example()[1]
    return found


def exported(one: OneSample) -> torch.export.ExportedProgram:
    """The graph, with all that depends on lengths alone computed.

    Raises:
        MmkitError: torch cannot follow a component.
    """
    given = tuple(one.inputs().values())
    try:
        with torch.no_grad():
            folded = fold(torch.export.export(one, given).module())
            return torch.export.export(folded, given)
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()] or [""]
        raise MmkitError(
            f"task {one.task!r} cannot be exported as a graph: torch.export cannot follow a component of it "
            f"({type(error).__name__}: {lines[0][:200]}); mmkit export hf has all tasks"
        ) from error


def fold(module: Any) -> GraphModule:
    """Compute every call whose arguments are constants other than weights: numbers of rows, offsets, positions."""
    assert isinstance(module, GraphModule)
    weights = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    known: dict[Node, Any] = {}
    for node in list(module.graph.nodes):
        if node.op == "get_attr" and str(node.target) not in weights:
            known[node] = _attribute(module, str(node.target))
        elif node.op == "call_function" and all(one in known for one in node.all_input_nodes):
            _compute(module, node, known)
    for node in reversed(list(module.graph.nodes)):  # also those that write into their arguments
        if node in known and not node.users:
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.graph.lint()
    module.recompile()
    return module


def _compute(module: GraphModule, node: Node, known: dict[Node, Any]) -> None:
    arguments = torch.fx.node.map_arg((node.args, node.kwargs), lambda one: known[one])
    target: Any = node.target
    try:
        value = target(*_copied(arguments[0]), **_copied(arguments[1]))
    except Exception:  # what cannot be computed ahead stays in the graph
        return
    known[node] = value
    if isinstance(value, Tensor) and node.users:
        name = f"folded_{len(known)}"
        module.register_buffer(name, value)
        with module.graph.inserting_before(node):
            constant = module.graph.get_attr(name)
        node.replace_all_uses_with(constant)
        known[constant] = value


def _copied(value: Any) -> Any:
    """Tensors of their own: calls may write into their arguments."""
    return torch.utils._pytree.tree_map_only(Tensor, torch.clone, value)


def _attribute(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name)
    return module
