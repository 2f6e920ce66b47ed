"""A traced program as a file of ONNX, its axes under the names that ``signature.json`` has."""

import re
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from mmkit.errors import MmkitError, PluginError
from mmkit.exchange.graph_module import Graph
from mmkit.exchange.graph_trace import axes_of, quiet, reason_of


def need_onnx() -> None:
    """Before anything is computed.

    Raises:
        MmkitError: a package of the extra is missing.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            import_module(name)
        except ImportError:
            raise MmkitError(
                f"mmkit export onnx needs {name}, which is not installed: pip install 'mmkit[onnx]'"
            ) from None


def save_onnx(program: ExportedProgram, graph: Graph, path: Path) -> None:
    """Write it; large weights go into a file beside it, which ONNX looks for there.

    Raises:
        PluginError: an operation has no form in ONNX.
    """
    try:
        with torch.no_grad(), quiet():
            made = torch.onnx.export(program, dynamo=True, output_names=graph.progress.outputs, verbose=False)
    except Exception as error:
        raise PluginError(
            f"task {graph.question.task!r} has an operation that ONNX does not have ({reason_of(error)}); "
            "mmkit export torch may do"
        ) from error
    assert made is not None
    _name_axes(made.model.graph, graph)
    _apart(made.model.graph)
    made.save(str(path))


def _name_axes(made: Any, graph: Graph) -> None:
    """``s40`` → ``batch`` and so on, in all shapes."""
    names: dict[str, str] = {}
    for value in made.inputs:
        for at, axis in axes_of(graph, value.name).items():
            names.setdefault(str(value.shape[at].value), axis)
    values: Iterable[Any] = [*made.inputs, *made.outputs, *(v for node in made.all_nodes() for v in node.outputs)]
    for value in values:
        if value.shape is not None and not value.shape.frozen:
            for at, size in enumerate(value.shape):
                if not isinstance(size, int) and size.value is not None:
                    value.shape[at] = re.sub(r"\bs\d+\b", lambda found: names.get(found[0], found[0]), str(size.value))


def _apart(made: Any) -> None:
    """Give way to the outputs: torch names inner values by their operations, ``embedding`` among them."""
    outputs, names = {id(value) for value in made.outputs}, {value.name for value in made.outputs}
    for node in made.all_nodes():
        for value in node.outputs:
            if value.name in names and id(value) not in outputs:
                value.name = f"{value.name}_inner"
