"""Checkpoints of other architectures, read by plugins, as models of mmkit."""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from mmkit.discovery.loader import discover
from mmkit.errors import CheckpointError, MmkitError, PluginError, nearest
from mmkit.exchange.hf_config import MODEL_TYPE
from mmkit.exchange.hf_export import fresh_folder, import_hf, same
from mmkit.model.checkpoint import load
from mmkit.model.model import Model
from mmkit.model.tensor_file import aligned
from mmkit.registry.offers import Imported, Importer
from mmkit.wiring.construct import construct
from mmkit.wiring.empty import empty_weights
from mmkit.wiring.graph import import_path
from mmkit.wiring.planner import plan


def bring_in(folder: Path, out: Path) -> Model:
    """A folder of transformers as a saved model.

    Raises:
        CheckpointError: it is none. PluginError: no plugin imports its architecture, or the importer is wrong.
    """
    kind = model_type(folder)
    if kind == MODEL_TYPE:
        return import_hf(folder, out)
    model = assembled(asked(importer_of(kind), folder), folder)
    with fresh_folder(out) as staged:
        staged.rmdir()
        model.save(staged)
        same(model, load(staged))
    return model


def model_type(folder: Path) -> str:
    """The architecture that a folder's ``config.json`` says.

    Raises:
        CheckpointError: there is none.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} is no folder of transformers: it has no config.json")
    try:
        kind = json.loads(path.read_text("utf-8")).get("model_type")
    except (ValueError, AttributeError):
        raise CheckpointError(f"{path} is not a JSON object") from None
    if not isinstance(kind, str):
        raise CheckpointError(f"{path} names no model_type")
    return kind


def importer_of(kind: str) -> Importer:
    """The one that reads this architecture.

    Raises:
        PluginError: none does, or several do.
    """
    known = discover().importers
    found = [one for one in known if one.name == kind]
    if len(found) > 1:
        owners = ", ".join(sorted(one.plugin for one in found))
        raise PluginError(f"several plugins import {kind!r}: {owners}; exclude all but one with MMKIT_PLUGINS")
    if not found:
        names = sorted({MODEL_TYPE, *(one.name for one in known)})
        raise PluginError(f"no plugin imports the architecture {kind!r}: {nearest(kind, names)}")
    return found[0]


def asked(importer: Importer, folder: Path) -> Imported:
    """What an importer makes of a folder.

    Raises:
        PluginError: it fails, or gives something else.
    """
    who = f"importer {importer.name!r} of plugin {importer.plugin!r}"
    try:
        given = import_path(importer.function)(folder)
    except MmkitError:
        raise
    except Exception as error:
        raise PluginError(f"{who} fails: {type(error).__name__}: {error}") from error
    if not isinstance(given, Imported):
        raise PluginError(f"{who} gave a {type(given).__name__}, wanted a mmkit.Imported")
    return given


def assembled(given: Imported, folder: Path) -> Model:
    """The model of an importer's spec with its tensors, every one in its place.

    Raises:
        PluginError: a parameter is missing, left over, or of another shape.
    """
    planned = plan(given.spec, discover(), root=folder.resolve())
    with empty_weights():
        model = Model(planned, construct(planned, load_weights=False))
    wanted, there = model.state_dict(), dict(given.tensors)
    missing, left = sorted(wanted.keys() - there.keys()), sorted(there.keys() - wanted.keys())
    shapes = [n for n in wanted.keys() & there.keys() if wanted[n].shape != there[n].shape]
    if missing or left or shapes:
        raise PluginError(
            f"the weights of {folder} do not fit the spec of their importer: missing {missing[:3]} ({len(missing)}), "
            f"left over {left[:3]} ({len(left)}), of another shape {sorted(shapes)[:3]} ({len(shapes)})"
        )
    model.load_state_dict({name: _own(there[name]) for name in wanted}, assign=True)
    _tie(model, there)
    return model.eval()


def _own(tensor: Tensor) -> Tensor:
    return aligned(tensor.detach().contiguous())


def _tie(model: nn.Module, given: dict[str, Tensor]) -> None:
    """Parameters that were one tensor are one again."""
    first: dict[tuple[int, torch.Size], nn.Parameter] = {}
    for name, parameter in list(model.named_parameters(remove_duplicate=False)):
        key = (given[name].data_ptr(), given[name].shape)
        kept = first.setdefault(key, parameter)
        if kept is not parameter:
            owner, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(owner), attribute, kept)
