"""What trains in a stage: glob patterns over nodes and parameters."""

from torch import nn

from mmkit.errors import SpecError, nearest
from mmkit.model.model import Model
from mmkit.spec.schema import Stage
from mmkit.wiring.graph import matches


def parameters_of(model: Model) -> dict[str, nn.Parameter]:
    """Every parameter by node and name: ``image.adapter.0.weight``."""
    return {
        f"{node}.{name}": parameter
        for node, module in model.nodes().items()
        for name, parameter in module.named_parameters()
    }


def frozen_encoders(model: Model) -> list[str]:
    """Modalities whose encoder trains nothing now."""
    encoders = model.parts.encoders.items()
    return [name for name, encoder in encoders if not any(p.requires_grad for p in encoder.parameters())]


def untrained_encoders(model: Model) -> list[str]:
    """Modalities whose encoder no stage of the spec trains."""
    stages = model.plan.spec.train.stages if model.plan.spec.train else []
    patterns = [pattern for stage in stages for pattern in stage.train]
    named = {node: module for node, module in model.nodes().items() if node.endswith(".encoder")}
    return [
        node.removesuffix(".encoder")
        for node, module in named.items()
        if not any(matches(f"{node}.{name}", glob) for name, _ in module.named_parameters() for glob in patterns)
    ]


def apply_stage(model: Model, stage: Stage, index: int) -> dict[str, tuple[int, int]]:
    """Set ``requires_grad`` by the stage's globs.

    Returns:
        per node: trainable and all parameters.

    Raises:
        SpecError: a glob matches nothing.
    """
    named = parameters_of(model)
    nodes = list(model.nodes())
    chosen: set[str] = set()
    problems = []
    for position, pattern in enumerate(stage.train):
        matched = {n for n in named if matches(n, pattern)}
        if not matched:
            location = ("train", "stages", index, "train", position)
            hint = nearest(pattern, nodes)
            problems.append(model.plan.source.problem(location, f"{pattern!r} matches no parameter: {hint}"))
        chosen |= matched
    if problems:
        raise SpecError(problems)
    wanted = {id(named[name]) for name in chosen}
    for parameter in named.values():
        parameter.requires_grad_(id(parameter) in wanted)
    table = {}
    for node, module in model.nodes().items():
        sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
        table[node] = (sum(n for n, on in sizes if on), sum(n for n, _ in sizes))
    return table
