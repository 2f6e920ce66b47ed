"""What trains in a stage, at which rate: glob patterns over nodes and parameters."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import nn

from mmkit.errors import Problem, SpecError, nearest
from mmkit.model.lora import plain_name
from mmkit.model.model import Model
from mmkit.spec.schema import Stage
from mmkit.training.adapt import has_lora, is_lora
from mmkit.wiring.graph import Plan, matches


@dataclass(frozen=True)
class NodeRow:
    """One row of a stage's table.

    Attributes:
        trainable, total: parameters. rates: the peak learning rates of its trainable parameters, ascending.
        layers: linear layers with low-rank adapters. used: whether the stage's data reaches the node.
    """

    node: str
    trainable: int
    total: int
    rates: tuple[float, ...] = ()
    layers: int = 0
    used: bool = True


@dataclass(frozen=True)
class Trainable:
    """What trains: names → parameters and names → peak learning rate, in the order of the model; and the table."""

    parameters: Mapping[str, nn.Parameter]
    rates: Mapping[str, float]
    table: tuple[NodeRow, ...]


def parameters_of(model: Model) -> dict[str, nn.Parameter]:
    """Every parameter by node and name, as globs see it: ``image.adapter.0.weight``."""
    return {
        plain_name(f"{node}.{name}"): parameter
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
    patterns = [glob for stage in stages for glob in (*stage.train, *(stage.lora.targets if stage.lora else ()))]
    named = {node: module for node, module in model.nodes().items() if node.endswith(".encoder")}
    return [
        node.removesuffix(".encoder")
        for node, module in named.items()
        if not any(matches(f"{node}.{name}", glob) for name, _ in module.named_parameters() for glob in patterns)
    ]


def apply_stage(model: Model, stage: Stage, index: int, tasks: Iterable[str]) -> Trainable:
    """Set ``requires_grad`` by the stage's globs; adapters have been attached before.

    Args:
        tasks: those with data in this stage.

    Raises:
        SpecError: a glob matches nothing, a trainable parameter has no learning rate, or nothing would train.
    """
    named = parameters_of(model)
    problems: list[Problem] = []
    chosen = _chosen(model, stage, index, named, problems)
    if problems:
        raise SpecError(problems)
    rates = _rates(model, stage, index, [name for name in named if name in chosen], problems)
    if problems:
        raise SpecError(problems)
    wanted = {id(named[name]) for name in chosen}
    for parameter in named.values():
        parameter.requires_grad_(id(parameter) in wanted and parameter.is_floating_point())
    table = _table(model, rates, used_nodes(model.plan, tasks))
    if not any(row.trainable and row.used for row in table):
        idle = ", ".join(row.node for row in table if row.trainable) or "only adapters' frozen weights"
        message = f"the stage trains nothing: its globs match {idle}, which no task with data uses"
        fix = "name nodes that the tasks of data.train use: " + ", ".join(r.node for r in table if r.used and r.total)
        raise SpecError([model.plan.source.problem(("train", "stages", index, "train"), message, fix)])
    first = {id(parameter): name for name, parameter in reversed(named.items())}  # of tied ones
    trained = {
        name: parameter for name, parameter in named.items() if parameter.requires_grad and first[id(parameter)] == name
    }
    return Trainable(trained, {name: rates[name] for name in trained}, table)


def _chosen(
    model: Model, stage: Stage, index: int, named: Mapping[str, nn.Parameter], problems: list[Problem]
) -> set[str]:
    """Names of the parameters that train."""
    nodes = list(model.nodes())
    adapted = [node for node in nodes if has_lora(model, node)] if stage.lora else []
    chosen: set[str] = set()
    for position, pattern in enumerate(stage.train):
        matched = {name for name in named if matches(name, pattern)}
        if not matched:
            hint = nearest(pattern, nodes)
            location = ("train", "stages", index, "train", position)
            problems.append(model.plan.source.problem(location, f"{pattern!r} matches no parameter: {hint}"))
        whole = tuple(f"{node}." for node in adapted if matches(node, pattern))
        chosen |= {name for name in matched if not name.startswith(whole) or is_lora(name)}
    if stage.lora:
        adapters = {name for name in named if is_lora(name)}
        layers = tuple(name.partition(".lora_")[0] + "." for name in adapters)
        chosen = {name for name in chosen if not name.startswith(layers)} | adapters
    return chosen


def _rates(model: Model, stage: Stage, index: int, names: list[str], problems: list[Problem]) -> dict[str, float]:
    """Peak learning rate of every trainable parameter."""
    if not isinstance(stage.lr, dict):
        return dict.fromkeys(names, stage.lr)
    rates: dict[str, float] = {}
    for pattern, rate in stage.lr.items():
        matched = [name for name in names if matches(name, pattern)]
        location = ("train", "stages", index, "lr", pattern)
        if not matched:
            training = [node for node in model.nodes() if any(name.startswith(f"{node}.") for name in names)]
            message = f"{pattern!r} matches nothing that trains in this stage: {nearest(pattern, training)}"
            problems.append(model.plan.source.problem(location, message))
        rates.update(dict.fromkeys(matched, rate))
    left = [name for name in names if name not in rates]
    if left:
        message = f"{len(left)} trainable parameters have no learning rate, the first is {left[0]}"
        problems.append(
            model.plan.source.problem(
                ("train", "stages", index, "lr"), message, 'put "*": 1.0e-3 first, for the others'
            )
        )
    return rates


def _table(model: Model, rates: Mapping[str, float], used: set[str]) -> tuple[NodeRow, ...]:
    rows = []
    for node, module in model.nodes().items():
        named = {plain_name(f"{node}.{name}"): parameter for name, parameter in module.named_parameters()}
        trained = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
        rows.append(
            NodeRow(
                node,
                sum(parameter.numel() for parameter in trained.values()),
                sum(parameter.numel() for parameter in named.values()),
                tuple(sorted({rates[name] for name in trained})),
                sum(name.endswith(".lora_A.default.weight") for name in named),
                node in used,
            )
        )
    return tuple(rows)


def used_nodes(plan: Plan, tasks: Iterable[str]) -> set[str]:
    """The nodes that a forward pass over these tasks' samples goes through."""
    used: set[str] = set()
    for task in tasks:
        planned = plan.tasks[task]
        used.add(f"{task}.head")
        queue = list(planned.reads)
        seen: set[str] = set()  # of this task: another one may feed the same backbone otherwise
        while queue:
            node = queue.pop()
            if node in seen:
                continue
            seen.add(node)
            modality = node.rpartition(".")[0]
            if modality in plan.modalities:
                queue += [f"{modality}.encoder"] if node.endswith(".adapter") else []
            elif node in plan.backbones and not plan.backbones[node].reads:
                queue += [f"{name}.adapter" for name in set(planned.modality_of.values())]
            elif node in plan.backbones:
                queue += [read for read, _ in plan.backbones[node].reads]
                seen |= {adapter.node for _, adapter in plan.backbones[node].reads if adapter}
        used |= seen
    return used


def lines(stage: Stage, table: Iterable[NodeRow]) -> list[str]:
    """The table as text."""
    rows = [row for row in table if row.total]
    on, total = sum(row.trainable for row in rows), sum(row.total for row in rows)
    width = max(len(row.node) for row in rows)
    said = [f"stage {stage.name}: {on:,} of {total:,} parameters train"]
    for row in rows:
        rates = " … ".join(f"{rate:g}" for rate in dict.fromkeys((row.rates or (0.0,))[:: max(1, len(row.rates) - 1)]))
        what = f"lr {rates}" if row.trainable else "frozen"
        what += f"  LoRA on {row.layers} layers" if row.layers else ""
        what += "" if row.used else "  (no task with data uses it)"
        said.append(f"  {row.node:<{width}}  {row.trainable:>13,} / {row.total:>13,}  {what}")
    return said
