"""``mmkit.check``: static and wiring validation without reading a weight."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmkit.discovery.loader import discover
from mmkit.registry.registry import Registry
from mmkit.wiring.graph import Plan, matches
from mmkit.wiring.planner import plan


@dataclass(frozen=True)
class NodeReport:
    """One row of the table that ``mmkit check`` prints."""

    node: str
    component: str
    width: int
    parameters: int
    trainable: int = 0
    megabytes: float = 0.0


def check(
    spec: "str | os.PathLike[str] | Mapping[str, Any]", *, static: bool = False, registry: Registry | None = None
) -> list[NodeReport]:
    """Validate a spec; ``static`` leaves out everything that needs torch.

    Raises:
        SpecError: every problem, located.
    """
    planned = plan(spec, registry or discover())
    if static:
        return [NodeReport(p.node, p.component.full_name, 0, 0) for p in planned.placed()]
    from torch import nn

    from mmkit.wiring.construct import construct
    from mmkit.wiring.empty import empty_weights

    with empty_weights():
        parts = construct(planned, load_weights=False, require_fitted=False)
    built: dict[str, Any] = {f"{name}.encoder": module for name, module in parts.encoders.items()}
    built.update(parts.adapters)
    built.update(parts.backbones)
    built.update({f"{name}.head": module for name, module in parts.heads.items()})
    rows = []
    for placed in planned.placed():
        module = built.get(placed.node)
        weights = dict(module.named_parameters()) if isinstance(module, nn.Module) else {}
        trained = [p for name, p in weights.items() if _trains(planned, f"{placed.node}.{name}")]
        rows.append(
            NodeReport(
                placed.node,
                placed.component.full_name,
                parts.dims.get(placed.node, 0),
                sum(p.numel() for p in weights.values()),
                sum(p.numel() for p in trained),
                sum(p.numel() * p.element_size() for p in weights.values()) / 1e6,
            )
        )
    return rows


def _trains(planned: Plan, name: str) -> bool:
    """Whether any stage trains a parameter (without stages: yes)."""
    if planned.spec.train is None:
        return True
    globs = [pattern for stage in planned.spec.train.stages for pattern in stage.train]
    return any(matches(name, pattern) for pattern in globs)
