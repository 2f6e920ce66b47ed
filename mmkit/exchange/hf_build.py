"""A model from a configuration and back: its plan, its assets, its architecture."""

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from transformers.utils.hub import cached_file

from mmkit import __version__
from mmkit.discovery.loader import discover
from mmkit.errors import CheckpointError, MmkitError, PluginError, SpecError, nearest
from mmkit.exchange.hf_config import MmkitConfig
from mmkit.model.checkpoint import assets_of, check_lock, lock_of, unique
from mmkit.model.compact import require_whole
from mmkit.model.lora import adaptable, merge
from mmkit.model.model import Model
from mmkit.wiring.construct import Parts, construct
from mmkit.wiring.empty import empty_weights
from mmkit.wiring.graph import Plan
from mmkit.wiring.planner import plan

ASSETS = "assets"


def config_of(model: Model, task: str | None, bare: bool = False) -> MmkitConfig:
    """Everything but the weights and the assets.

    Raises:
        MmkitError: there is no such task, adapters are kept apart, or weights are held in fewer bits.
    """
    require_whole(model, "exported")
    tasks = model.plan.tasks
    chosen = task or next((name for name in tasks if model.parts.heads[name].autoregressive), next(iter(tasks), ""))
    if chosen not in tasks:
        raise MmkitError(f"there is no task {chosen!r}: {nearest(chosen, list(tasks))}")
    merge(model)
    if model.lora:
        raise MmkitError(
            "this model keeps adapters apart from its weights (lora.merge: false), and transformers has no place for them; "
            "train it with lora.merge: true, or export the model before its adapters"
        )
    spec = model.plan.spec.model_dump(mode="json")
    if bare:
        spec = {name: value for name, value in spec.items() if name not in ("data", "train", "tune")}
    main = model.parts.backbones.get("backbone")
    labels = getattr(model.parts.heads[chosen], "labels", None)
    named = {"id2label": {n: str(label) for n, label in enumerate(labels)}} if isinstance(labels, list) else {}
    return MmkitConfig(
        spec=json.dumps(spec, ensure_ascii=False),
        plugins=lock_of(model.plan)["plugins"],
        mmkit_version=__version__,
        assets=_asset_names(model),
        task=chosen,
        media=list(model.parts.encoders),
        tied=unique(model.state_dict())[1],
        vocab_size=model.parts.vocabulary_size,
        hidden_size=main.hidden_dim if main is not None else 0,
        privacy=model.privacy,
        tie_word_embeddings=False,
        **named,
    )


def _asset_names(model: Model) -> list[str]:
    """The files that ``save_assets`` writes."""
    with TemporaryDirectory() as folder:
        save_assets(model, Path(folder))
        root = Path(folder) / ASSETS
        return [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file()]


def save_assets(model: Model, folder: Path) -> None:
    """Write the files that components need beside their weights."""
    for name, component in assets_of(model).items():
        target = folder / ASSETS / name
        target.mkdir(parents=True, exist_ok=True)
        component.save_assets(target)


def push_options(given: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    """Take what ``push_to_hub`` wants out of the options of ``save_pretrained``; None where nothing is to be pushed."""
    names = ["commit_message", "commit_description", "private", "token", "revision", "create_pr", "tags", "repo_id"]
    names += ["license", "license_name", "license_link"]
    if not given.pop("push_to_hub", False):
        return None
    return {"repo_id": folder.resolve().name, **{name: given.pop(name) for name in names if name in given}}


def assets_folder(config: MmkitConfig) -> Path | None:
    """The folder of the assets: beside ``config.json``, fetched where that is on a hub.

    Raises:
        CheckpointError: a file is missing, or named outside the folder.
    """
    root: Path | None = None
    for name in config.assets:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise CheckpointError(f"config.json names a file outside its folder: {name}")
        where = str(config.name_or_path)
        try:
            found = cached_file(where, f"{ASSETS}/{name}", revision=getattr(config, "_commit_hash", None))
        except OSError as error:
            raise CheckpointError(f"{where} is incomplete: {ASSETS}/{name}: {str(error).splitlines()[0]}") from None
        root = Path(str(found)).parents[len(Path(name).parts) - 1]
    return root


def plan_of(config: MmkitConfig) -> Plan:
    """The plan of a configuration.

    Raises:
        CheckpointError: it needs plugins that are not installed, or does not fit them.
    """
    where, registry = config.name_or_path or "config.json", discover()
    check_lock(config.plugins, where, registry)
    try:
        return plan(json.loads(config.spec), registry, root=Path(config.name_or_path or "."), model_only=True)
    except ValueError as error:
        raise CheckpointError(f"the spec in {where} is not valid JSON: {error}") from None
    except SpecError as error:
        raise CheckpointError(f"the spec in {where} does not fit the installed plugins: {error}") from None


def parts_of(config: MmkitConfig, planned: Plan) -> Parts:
    """The components, with fresh weights.

    Raises:
        CheckpointError: they cannot be built.
    """
    try:
        return construct(planned, assets=assets_folder(config), load_weights=False)
    except (PluginError, SpecError, ValueError) as error:
        raise CheckpointError(f"{config.name_or_path or 'config.json'} cannot be built: {error}") from error


def build_core(config: MmkitConfig) -> Model:
    """The model, on the meta device where transformers is about to load weights; buffers are real in any case."""
    planned = plan_of(config)
    if torch.empty(0).is_meta:
        with torch.device("cpu"), empty_weights():
            model = Model(planned, parts_of(config, planned))
    else:
        model = Model(planned, parts_of(config, planned))
    model.privacy = config.privacy if isinstance(config.privacy, dict) else None
    return model


def lora_pattern(model: nn.Module) -> str:
    """A regular expression that means the linear layers of the backbones, but for output layers."""
    prefix = "core.backbones."
    heads = {id(one) for one in _output_layers(model)}
    names = [n for n, m in adaptable(model).items() if n.startswith(prefix) and id(m) not in heads]
    leaves = sorted({re.escape(name.rpartition(".")[2]) for name in names})
    if not leaves:
        raise MmkitError("this model's backbones have no linear layers that could take an adapter")
    return rf"core\.backbones\..*\.({'|'.join(leaves)})"


def _output_layers(model: nn.Module) -> list[nn.Module]:
    core: Any = model.get_submodule("core")
    layers = [backbone.output_layer() for backbone in core.parts.backbones.values() if backbone.generates]
    weights = {id(layer[0]) for layer in layers if layer is not None}
    return [m for m in model.modules() if id(getattr(m, "weight", None)) in weights]
