"""Saved models: ``model.safetensors`` + ``spec.json`` + ``plugins.json`` + ``assets/`` + ``manifest.json`` (SHA-256, last).

No pickle anywhere. A checkpoint names plugins; it can only select installed ones.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mmkit import __version__
from mmkit.discovery.loader import discover
from mmkit.errors import CheckpointError, PluginError, SpecError
from mmkit.interfaces import HasAssets
from mmkit.model.model import Model
from mmkit.registry.registry import Registry
from mmkit.wiring.construct import construct
from mmkit.wiring.empty import empty_weights
from mmkit.wiring.planner import plan

FORMAT = 1
MAX_HEADER = 8 * 1024 * 1024


def save(model: Model, folder: Path) -> Path:
    """Write into a temporary sibling, sync, then rename into place; an older model there is replaced last."""
    folder = folder.resolve()
    temporary = folder.with_name(f".{folder.name}.tmp-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        _write(model, temporary, folder)
        old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _write(model: Model, folder: Path, final: Path) -> None:
    tensors, aliases = _unique(model.state_dict())
    save_file(tensors, folder / "model.safetensors", metadata={"aliases": json.dumps(aliases)})
    placed = model.plan.placed()
    versions = {r.name: {"distribution": r.distribution, "version": r.version} for r in discover().reports}
    used = sorted({p.component.plugin for p in placed})
    lock = {"format": FORMAT, "mmkit": __version__, "plugins": {name: versions.get(name, {}) for name in used}}
    _dump(folder / "plugins.json", lock)
    _dump(folder / "spec.json", model.plan.spec.model_dump(mode="json"))
    _dump(folder / "origin.json", {"root": os.path.relpath(model.plan.source.root.resolve(), final)})
    for name, component in _with_assets(model).items():
        target = folder / "assets" / name
        target.mkdir(parents=True)
        component.save_assets(target)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    sums = {str(p.relative_to(folder)): _digest(p) for p in files}
    for path in files:
        _sync(path)
    _dump(folder / "manifest.json", {"format": FORMAT, "sha256": sums})
    _sync(folder / "manifest.json")


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
    manifest = _json(folder, "manifest.json")
    if manifest.get("format") != FORMAT:
        raise CheckpointError(f"{folder} has format {manifest.get('format')!r}; this mmkit reads {FORMAT}")
    for name in ("model.safetensors", "spec.json", "plugins.json", *manifest.get("sha256", {})):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is incomplete: {name} is missing")
    if verify:
        verify_sums(folder, manifest)
    registry = registry or discover()
    _check_plugins(folder, registry)
    try:
        planned = plan(_json(folder, "spec.json"), registry, root=_origin(folder))
    except SpecError as error:
        raise CheckpointError(f"{folder / 'spec.json'} does not fit the installed plugins: {error}") from None
    try:
        with empty_weights():
            model = Model(planned, construct(planned, assets=folder / "assets", load_weights=False))
    except (PluginError, SpecError) as error:
        raise CheckpointError(f"{folder} cannot be loaded: {error}") from error
    _assign(model, folder / "model.safetensors")
    model.to(device=torch.device(device), dtype=dtype)
    return model.eval()


def _origin(folder: Path) -> Path:
    """The folder that the spec's relative paths (data files) start from."""
    root = _json(folder, "origin.json").get("root", ".") if (folder / "origin.json").is_file() else "."
    return (folder.resolve() / str(root)).resolve()


def verify_sums(folder: Path, manifest: dict[str, Any]) -> None:
    """Compare every file with the manifest.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    for name, digest in manifest.get("sha256", {}).items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{folder} is incomplete: {name} is missing")
        if _digest(path) != digest:
            raise CheckpointError(f"{path} is damaged: its SHA-256 is not that of the manifest; restore it from a copy")


def _check_plugins(folder: Path, registry: Registry) -> None:
    lock = _json(folder, "plugins.json")
    here = {r.name: r for r in registry.reports}
    faults = []
    used = lock.get("plugins")
    if not isinstance(used, dict) or not all(isinstance(made, dict) for made in used.values()):
        raise CheckpointError(f"{folder / 'plugins.json'} does not say which plugins made the model")
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
        raise CheckpointError(f"{folder} cannot be loaded:\n  " + "\n  ".join(faults))


def _assign(model: Model, path: Path) -> None:
    header = _header_size(path)
    if header > MAX_HEADER and header.to_bytes(8, "little").startswith((b"PK", b"\x80")):
        raise CheckpointError(f"{path} is a pickle, which could run code when read; only safetensors files are read")
    if header > MAX_HEADER:
        raise CheckpointError(f"{path} has a header of {header:,} bytes; at most {MAX_HEADER:,} are read")
    try:
        with safe_open(path, framework="pt") as file:
            aliases = json.loads((file.metadata() or {}).get("aliases", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
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


def _unique(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
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


def _with_assets(model: Model) -> dict[str, HasAssets]:
    named: dict[str, Any] = {f"{name}.adapter": v for name, v in model.vocabularies.items()}
    named.update(model.nodes())
    return {name: component for name, component in named.items() if isinstance(component, HasAssets)}


def _header_size(path: Path) -> int:
    with path.open("rb") as file:
        return int.from_bytes(file.read(8), "little")


def _json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not folder.is_dir() or not path.is_file():
        raise CheckpointError(f"{folder} is not a saved mmkit model: it has no {name}")
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is not a JSON object")
    return value


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
