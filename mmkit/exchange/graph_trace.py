"""Module → torch.export's program and ONNX's; what cannot be traced is said with the component's name."""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import jaxtyping
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from mmkit.errors import PluginError
from mmkit.exchange.graph_inputs import LENGTH
from mmkit.exchange.graph_module import Graph


def trace(graph: Graph, given: Mapping[str, Tensor]) -> ExportedProgram:
    """A program for any number of items and any lengths.

    Args:
        given: inputs of at least two samples of different lengths above 1.

    Raises:
        PluginError: a component cannot be traced.
    """
    shapes = {name: dict.fromkeys(axes_of(graph, name), Dim.DYNAMIC) for name in given}
    try:
        with torch.no_grad(), quiet():
            return torch.export.export(graph, (), dict(given), dynamic_shapes=shapes, strict=False)
    except Exception as error:
        raise fault(graph, error) from error


def axes_of(graph: Graph, name: str) -> dict[int, str]:
    """The axes of an input that may have any length."""
    ragged = {field.name for place in graph.question.places for field in place.fields if field.ragged}
    batch = {} if graph.question.alone else {0: "batch"}
    return {**batch, 1: f"{name}_rows"} if name in ragged else batch


def fault(graph: Graph, error: Exception) -> PluginError:
    """What kept a graph from being made, in one line."""
    reason = reason_of(error)
    if graph.progress.at is None:
        return PluginError(f"task {graph.question.task!r} cannot be traced for any number of items: {reason}")
    component = graph.progress.at.component
    return PluginError(
        f"task {graph.question.task!r}: {component.kind} {component.name!r} of plugin {component.plugin!r} "
        f"(node {graph.progress.at.node!r}) cannot be traced: {reason}"
    )


def reason_of(error: BaseException) -> str:
    """The innermost cause's first line."""
    seen = cause(error)
    lines = [line.strip() for line in str(seen).splitlines() if line.strip()] or [""]
    return f"{type(seen).__name__}: {re.sub(r'[.;:]$', '', lines[0])[:300]}"


def cause(error: BaseException) -> BaseException:
    """The innermost one."""
    while True:
        inner = error.__cause__ or error.__context__
        if inner is None:
            return error
        error = inner


def limits(program: ExportedProgram, graph: Graph) -> dict[str, dict[str, int]]:
    """How long the axes may be, where the graph does not take any length; that torch takes 2 for the least is no limit."""
    found: dict[str, dict[str, int]] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs:
            for at, axis in axes_of(graph, node.name).items():
                size = node.meta["val"].shape[at]
                known = (
                    program.range_constraints.get(getattr(size.node, "expr", None))
                    if isinstance(size, torch.SymInt)
                    else None
                )
                if known is not None:
                    least, most = (
                        int(known.lower),
                        int(known.upper) if known.upper.is_Integer and known.upper < 2**40 else 0,
                    )
                    bound = {"min": least if least > 2 else 1} | ({"max": most} if most else {})
                    if bound != {"min": 1}:
                        found[axis] = bound
    return found


def unread(program: ExportedProgram) -> set[str]:
    """Inputs that nothing in a program reads, lengths left out."""
    idle = {node.name for node in program.graph.nodes if node.op == "placeholder" and not node.users}
    return {name for name in program.graph_signature.user_inputs if name in idle and not str(name).endswith(LENGTH)}


@contextmanager
def quiet() -> Iterator[None]:
    """Without notes for those who make exporters, and without checks of shapes, which would make numbers of symbols."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)
