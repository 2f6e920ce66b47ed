"""``mmkit.build``: spec → model."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from mmkit.discovery.loader import discover
from mmkit.model.model import Model
from mmkit.registry.registry import Registry
from mmkit.wiring.construct import construct
from mmkit.wiring.graph import Plan
from mmkit.wiring.planner import plan


def build(
    spec: "str | os.PathLike[str] | Mapping[str, Any] | Plan",
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    fit: Mapping[str, Iterable[Any]] | None = None,
    seed: int | None = None,
    registry: Registry | None = None,
) -> Model:
    """Assemble one model from a spec.

    Args:
        spec: path of a YAML/JSON file, a mapping, or a plan.
        fit: raw values per modality, for components that learn from data before the build (a BPE vocabulary).
        seed: seed of the fresh weights; default: ``train.seed`` of the spec, else 0.

    Raises:
        SpecError: every problem of the spec, located.
        PluginError: a plugin broke its contract.
    """
    planned = spec if isinstance(spec, Plan) else plan(spec, registry or discover())
    if seed is None:
        seed = planned.spec.train.seed if planned.spec.train else 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Model(planned, construct(planned, fit=fit))
    model.to(device=torch.device(device), dtype=dtype)
    return model


__all__ = ["build"]
