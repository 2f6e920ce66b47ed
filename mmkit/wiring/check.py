"""``mmkit.check``: static and wiring validation without reading a weight."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmkit.discovery.loader import discover
from mmkit.registry.registry import Registry
from mmkit.wiring.graph import plan


@dataclass(frozen=True)
class NodeReport:
    """One row of the table that ``mmkit check`` prints."""

    node: str
    component: str
    width: int
    parameters: int


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
    from accelerate import init_empty_weights
    from torch import nn

    from mmkit.wiring.construct import construct

    with init_empty_weights(include_buffers=False):
        parts = construct(planned, load_weights=False, require_fitted=False)
    built: dict[str, Any] = {f"{name}.encoder": module for name, module in parts.encoders.items()}
    built.update(parts.adapters)
    built.update(parts.backbones)
    built.update({f"{name}.head": module for name, module in parts.heads.items()})
    rows = []
    for placed in planned.placed():
        module = built.get(placed.node)
        count = sum(p.numel() for p in module.parameters()) if isinstance(module, nn.Module) else 0
        rows.append(NodeReport(placed.node, placed.component.full_name, parts.dims.get(placed.node, 0), count))
    return rows
