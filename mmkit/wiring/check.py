"""``mmkit.check``: static and wiring validation without reading a weight, and what the model will cost."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmkit.discovery.loader import discover
from mmkit.errors import SpecError, nearest
from mmkit.registry.registry import Registry
from mmkit.wiring.draw import graph
from mmkit.wiring.graph import Placed, Plan, matches
from mmkit.wiring.planner import plan
from mmkit.wiring.private import coupling_problems, spec_problems
from mmkit.wiring.variants import check_ends

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmkit.wiring.budget import Flops, Nominal
    from mmkit.wiring.construct import Parts


@dataclass(frozen=True)
class NodeReport:
    """One row of the table that ``mmkit check`` prints. A static check fills in node, component and notes only.

    Attributes:
        width: of the rows it gives. parameters: all. stages: trained parameters by stage (all, without stages).
        tokens: rows that one typical item becomes; None where no example is known. item: what that item is.
        flops: of a forward pass, per item or per token as ``flops_per`` says. flops_counted: by torch's counter;
            else two per parameter and token. None where nothing sensible can be said.
        megabytes: of the weights. training_megabytes: weights, gradients and optimizer state in the heaviest stage.
        notes: what a user may want to know.
    """

    node: str
    component: str
    width: int = 0
    parameters: int = 0
    stages: Mapping[str, int] = field(default_factory=dict)
    tokens: int | None = None
    item: str = ""
    flops: int | None = None
    flops_per: str = ""
    flops_counted: bool = False
    megabytes: float = 0.0
    training_megabytes: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def trainable(self) -> int:
        """Most parameters that a stage trains here."""
        return max(self.stages.values(), default=0)


def check(
    spec: "str | os.PathLike[str] | Mapping[str, Any] | Plan",
    *,
    static: bool = False,
    flops: bool = False,
    registry: Registry | None = None,
) -> list[NodeReport]:
    """Validate a spec before any weight is read, and say what each node costs. The ends of the ranges that ``tune``
    names are validated with it.

    Args:
        spec: path of a YAML/JSON file, a mapping, or a plan.
        static: leave out everything that needs torch.
        flops: count FLOPs by running every node on the meta device (a few seconds).

    Raises:
        SpecError: every problem, located.
    """
    registry = registry or discover()
    planned = spec if isinstance(spec, Plan) else plan(spec, registry)
    check_ends(planned, registry, static=static)
    unread = set(graph(planned).unread())
    if static:
        return [NodeReport(p.node, p.component.full_name, notes=_notes(p, unread)) for p in planned.placed()]
    from mmkit.wiring.construct import construct
    from mmkit.wiring.empty import empty_weights

    with empty_weights():
        parts = construct(planned, load_weights=False, require_fitted=False)
    return _Budget(planned, parts, unread, flops).rows()


class _Budget:
    def __init__(self, planned: Plan, parts: "Parts", unread: set[str], flops: bool) -> None:
        from mmkit.wiring.budget import nominal_items

        self.plan, self.parts, self.unread, self.count = planned, parts, unread, flops
        self.items = nominal_items(parts)
        self.modules = _modules(parts)
        self.named = {node: dict(module.named_parameters()) for node, module in self.modules.items()}
        self.stages = self._stages()
        self.heaviest = max(self.stages, key=lambda stage: sum(self._training(stage).values()), default="")

    def rows(self) -> list[NodeReport]:
        return [self._row(placed) for placed in self.plan.placed()]

    def _row(self, placed: Placed) -> NodeReport:
        node, weights = placed.node, self.named.get(placed.node, {})
        item, tokens = self._item(placed)
        flops = self._flops(placed, item)
        notes = _notes(placed, self.unread)
        if item is not None and item.refused and placed.component.kind == "adapter":
            notes = (*notes, f"cannot take a {item.what} ({item.features} rows): {item.refused}")
        return NodeReport(
            node,
            placed.component.full_name,
            self.parts.dims.get(node, 0),
            sum(p.numel() for p in weights.values()),
            {stage: sum(weights[n].numel() for n in trained.get(node, ())) for stage, trained in self.stages.items()},
            tokens,
            item.what if item is not None else "",
            flops.number if flops is not None else None,
            flops.per if flops is not None else "",
            flops.counted if flops is not None else False,
            sum(p.numel() * p.element_size() for p in weights.values()) / 1e6,
            self._training(self.heaviest).get(node, 0) / 1e6,
            notes,
        )

    def _item(self, placed: Placed) -> "tuple[Nominal | None, int | None]":
        """The typical item that a modality's node takes, and the rows that it becomes there."""
        modality, _, part = placed.node.rpartition(".")
        item = self.items.get(modality)
        if item is None or part not in ("encoder", "adapter"):
            return None, None
        return item, item.features if part == "encoder" else item.tokens or None

    def _flops(self, placed: Placed, item: "Nominal | None") -> "Flops | None":
        from mmkit.wiring import budget

        module, kind = self.modules.get(placed.node), placed.component.kind
        if module is None or not self.named[placed.node] or (kind == "encoder" and not (self.count and item)):
            return None
        if not self.count or kind == "head":
            return budget.estimate(module)
        with budget.quiet():
            if kind == "encoder" and item is not None:
                return budget.count_encoder(module, item)
            if kind == "backbone":
                return budget.count_backbone(self.parts.backbones[placed.node], self.plan.generates(placed.node))
            return budget.count_adapter(module, self._in_dim(placed.node), None if item and item.refused else item)

    def _in_dim(self, adapter: str) -> int:
        """Width of what an adapter reads."""
        for backbone in self.plan.backbones.values():
            for source, placed in backbone.reads:
                if placed is not None and placed.node == adapter:
                    return self.parts.dims[source]
        return self.parts.dims[f"{adapter.removesuffix('.adapter')}.encoder"]

    def _stages(self) -> dict[str, dict[str, set[str]]]:
        """Stage → node → names of the parameters it trains; without stages everything trains.

        Raises:
            SpecError: a glob that matches nothing.
        """
        if self.plan.spec.train is None:
            return {"": {node: set(weights) for node, weights in self.named.items()}}
        problems = spec_problems(self.plan)
        found: dict[str, dict[str, set[str]]] = {}
        for index, stage in enumerate(self.plan.spec.train.stages):
            trained: dict[str, set[str]] = {node: set() for node in self.named}
            for position, pattern in enumerate(stage.train):
                hits = {(n, p) for n, weights in self.named.items() for p in weights if matches(f"{n}.{p}", pattern)}
                for node, parameter in hits:
                    trained[node].add(parameter)
                if not hits:
                    location = ("train", "stages", index, "train", position)
                    hint = nearest(pattern, list(self.named))
                    problems.append(self.plan.source.problem(location, f"{pattern!r} matches no parameter: {hint}"))
            nodes = {node for node, names in trained.items() if names}
            tasks = {source.task for source in (self.plan.spec.data.train if self.plan.spec.data else ())}
            problems += coupling_problems(self.plan, index, self.modules, nodes, sorted(tasks))
            found[stage.name if stage.name not in found else f"{stage.name} ({index + 1})"] = trained
        if problems:
            raise SpecError(problems)
        return found

    def _training(self, stage: str) -> dict[str, int]:
        from mmkit.wiring.budget import training_bytes

        trained = self.stages[stage]
        weights: Mapping[str, Mapping[str, Tensor]] = self.named
        return {node: training_bytes(parameters, trained[node]) for node, parameters in weights.items()}


def _modules(parts: "Parts") -> "dict[str, nn.Module]":
    found: dict[str, Any] = {f"{name}.encoder": module for name, module in parts.encoders.items()}
    found |= parts.adapters
    found |= parts.backbones
    found |= {f"{name}.head": module for name, module in parts.heads.items()}
    return found


def _notes(placed: Placed, unread: set[str]) -> tuple[str, ...]:
    return ("no task reads it",) if placed.node in unread else ()
