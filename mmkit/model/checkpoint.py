"""Saved models: ``model.safetensors`` + ``spec.json`` + ``plugins.json`` + ``assets/`` + ``manifest.json`` (SHA-256, last).

No pickle anywhere. A checkpoint names plugins; it can only select installed ones.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from mmkit import __version__
from mmkit.discovery.loader import discover
from mmkit.errors import CheckpointError, PluginError, SpecError
from mmkit.interfaces import HasAssets
from mmkit.model.folder import dump_json, read_json, read_manifest, recover, verify_sums, write_folder
from mmkit.model.lora import attach, from_records, records, state_to_save
from mmkit.model.model import Model
from mmkit.model.tensor_file import aligned, write_tensors
from mmkit.registry.registry import Registry
from mmkit.wiring.construct import construct
from mmkit.wiring.empty import empty_weights
from mmkit.wiring.graph import Plan
from mmkit.wiring.planner import plan

FORMAT = 1
LORA = "lora.json"  # adapters kept apart
PRIVACY = "privacy.json"  # what a private training has spent
MAX_HEADER = 8 * 1024 * 1024


def save(model: Model, folder: Path) -> Path:
    """Write the model; an older one there is replaced whole, other files in the folder are left alone.

    Raises:
        CheckpointError: the folder cannot be written, or the model's layers are held in fewer bits.
    """
    if model.compacted:
        raise CheckpointError(f"a model with quantize({model.compacted!r}) is not saved; load it anew, and save that")
    return write_folder(folder, FORMAT, lambda staged: write_model(model, staged, folder.resolve()))


def write_model(model: Model, folder: Path, final: Path, merged: bool = True) -> None:
    """The files of a model into ``folder``, which will be renamed to ``final``.

    Args:
        merged: fold the adapters that are to be merged into the weights; False keeps the model as it trains.
    """
    tensors, aliases = unique(state_to_save(model, merged))
    write_tensors(tensors, folder / "model.safetensors", {"aliases": json.dumps(aliases)})
    dump_json(folder / "plugins.json", lock_of(model.plan))
    dump_json(folder / "spec.json", model.plan.spec.model_dump(mode="json"))
    apart = [lora for lora in model.lora if not (merged and lora.merge)]
    if apart:
        dump_json(folder / LORA, {"adapters": records(apart)})
    if model.privacy is not None:
        dump_json(folder / PRIVACY, model.privacy)
    dump_json(folder / "origin.json", {"root": os.path.relpath(model.plan.source.root.resolve(), final)})
    for name, component in assets_of(model).items():
        target = folder / "assets" / name
        target.mkdir(parents=True)
        component.save_assets(target)


def lock_of(planned: Plan) -> dict[str, Any]:
    """The plugins that a plan's components are of, with their versions."""
    versions = {r.name: {"distribution": r.distribution, "version": r.version} for r in discover().reports}
    used = sorted({p.component.plugin for p in planned.placed()})
    return {"format": FORMAT, "mmkit": __version__, "plugins": {name: versions.get(name, {}) for name in used}}


def load(
    folder: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    verify: bool = False,
    registry: Registry | None = None,
) -> Model:
    """Load a saved model: architecture without memory, then memory-mapped weights.

    Args:
        verify: also compare every file with its SHA-256.

    Raises:
        CheckpointError: not a model folder, corrupt, or made by plugins that are not installed.
    """
    folder = Path(folder)
    recover(folder)
    sums = read_manifest(folder, FORMAT)
    for name in ("model.safetensors", "spec.json", "plugins.json"):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is incomplete: {name} is missing")
    if verify:
        verify_sums(folder, sums)
    registry = registry or discover()
    _check_plugins(folder, registry)
    try:
        planned = plan(read_json(folder, "spec.json"), registry, root=_origin(folder), model_only=True)
    except SpecError as error:
        raise CheckpointError(f"{folder / 'spec.json'} does not fit the installed plugins: {error}") from None
    model = restore(folder, planned)
    model.to(device=torch.device(device), dtype=dtype)
    return model.eval()


def restore(folder: Path, planned: Plan) -> Model:
    """The model of a plan with the weights and assets of a written folder, whose files have been checked.

    Raises:
        CheckpointError: the folder does not fit the plan.
    """
    try:
        with empty_weights():
            model = Model(planned, construct(planned, assets=folder / "assets", load_weights=False))
            if (folder / LORA).is_file():
                for lora in from_records(read_json(folder, LORA).get("adapters"), folder / LORA):
                    attach(model, lora)
    except (PluginError, SpecError, ValueError) as error:
        raise CheckpointError(f"{folder} cannot be loaded: {error}") from error
    _assign(model, folder / "model.safetensors")
    if (folder / PRIVACY).is_file():
        model.privacy = dict(read_json(folder, PRIVACY))
    return model


def _origin(folder: Path) -> Path:
    """The folder that the spec's relative paths (data files) start from."""
    root = read_json(folder, "origin.json").get("root", ".") if (folder / "origin.json").is_file() else "."
    return (folder.resolve() / str(root)).resolve()


def _check_plugins(folder: Path, registry: Registry) -> None:
    used = read_json(folder, "plugins.json").get("plugins")
    if not isinstance(used, dict) or not all(isinstance(made, dict) for made in used.values()):
        raise CheckpointError(f"{folder / 'plugins.json'} does not say which plugins made the model")
    check_lock(used, folder, registry)


def check_lock(used: Mapping[str, Mapping[str, Any]], where: object, registry: Registry) -> None:
    """Hold the plugins that made a model against those that are installed.

    Raises:
        CheckpointError: one is missing, not loaded, or of another main version.
    """
    here = {r.name: r for r in registry.reports}
    faults = []
    for name, made in used.items():
        dist, version = str(made.get("distribution", name)), str(made.get("version", "?"))
        report = here.get(name)
        if report is None:
            faults.append(f"plugin {name!r} is not installed: pip install {dist}=={version}")
        elif report.status != "loaded":
            faults.append(str(report))
        elif report.version.split(".")[0] != version.split(".")[0]:
            faults.append(
                f"plugin {name!r} is {report.version}, the model was made with {version}: pip install {dist}=={version}"
            )
    if faults:
        raise CheckpointError(f"{where} cannot be loaded:\n  " + "\n  ".join(faults))


def _assign(model: Model, path: Path) -> None:
    header = _header_size(path)
    if header > MAX_HEADER and header.to_bytes(8, "little").startswith((b"PK", b"\x80")):
        raise CheckpointError(f"{path} is a pickle, which could run code when read; only safetensors files are read")
    if header > MAX_HEADER:
        raise CheckpointError(f"{path} has a header of {header:,} bytes; at most {MAX_HEADER:,} are read")
    try:
        with safe_open(path, framework="pt") as file:
            aliases = json.loads((file.metadata() or {}).get("aliases", "{}"))
            tensors = {name: aligned(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        state = {**tensors, **{alias: tensors[name] for alias, name in aliases.items()}}
    except Exception as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from None
    try:
        missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the spec: {error}") from None
    if missing or unexpected:
        raise CheckpointError(f"{path} does not fit the spec: missing {missing[:5]}, unexpected {unexpected[:5]}")
    for alias, name in aliases.items():
        _tie(model, alias, name)


def _tie(model: nn.Module, alias: str, name: str) -> None:
    (owner, _, attribute), (source, _, given) = alias.rpartition("."), name.rpartition(".")
    setattr(model.get_submodule(owner), attribute, getattr(model.get_submodule(source), given))


def unique(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors without their doubles (tied weights), and which name stands for which."""
    first: dict[tuple[Any, ...], str] = {}
    tensors, aliases = {}, {}
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if tensor.numel() and key in first:
            aliases[name] = first[key]
        else:
            first[key] = name
            tensors[name] = tensor.detach().cpu().contiguous()
    return tensors, aliases


def assets_of(model: Model) -> dict[str, HasAssets]:
    """The components that need files beside their weights, by the name of their folder."""
    named: dict[str, Any] = {f"{name}.adapter": v for name, v in model.vocabularies.items()}
    named.update({f"{name}.adapter": v for name, v in model.parts.continuous.items()})
    named.update(model.nodes())
    return {name: component for name, component in named.items() if isinstance(component, HasAssets)}


def _header_size(path: Path) -> int:
    with path.open("rb") as file:
        return int.from_bytes(file.read(8), "little")
