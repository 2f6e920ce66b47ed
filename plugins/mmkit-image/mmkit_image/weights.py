"""Weights of a local file → tensors under the names of a model. No pickle is run."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mmkit import PluginError

_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
_COUNTER = "num_batches_tracked"
_MAX_HEADER = 8 * 2**20

State = Mapping[str, Tensor]


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors or torch file, in the file's order.

    Training wrappers (``state_dict``, ``model`` and their averaged forms, a ``module.`` before every name) are removed.

    Raises:
        PluginError: there is no such file, or it holds anything but tensors by name.
    """
    if not path.is_file():
        here = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        close = get_close_matches(path.name, here, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"its folder has {len(here)} files, none of a similar name"
        raise PluginError(f"weights {str(path)!r}: no such file; {hint}")
    try:
        content: Any = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    except PluginError:
        raise
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else ""
        raise PluginError(
            f"weights {str(path)!r} cannot be read ({type(error).__name__}: {first}); wanted a safetensors file, or a "
            "torch file that holds nothing but tensors by name"
        ) from None
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise PluginError(f"weights {str(path)!r} hold no tensors by name: a {type(content).__name__}")
    cut = len("module.") if all(name.startswith("module.") for name in content) else 0
    return {name[cut:]: tensor for name, tensor in content.items()}


def _safetensors(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > _MAX_HEADER:
        raise SafetensorError(f"its header claims {header} bytes, at most {_MAX_HEADER} are read")
    return load_file(path)


def _torch(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def in_order(found: State, wanted: State, classifier: Sequence[str]) -> dict[str, Tensor]:
    """The tensors of a file under the names of a model whose tensors have the same order and shapes.

    Batch normalisation's counters are left out on both sides; a classifier, if the file has one, may differ in size.

    Raises:
        ValueError: the counts or a shape differ; says where.
    """
    tensors = [(name, tensor) for name, tensor in found.items() if not name.endswith(_COUNTER)]
    places = [(name, tensor) for name, tensor in wanted.items() if not name.endswith(_COUNTER)]
    headless = [(name, tensor) for name, tensor in places if not _within(name, classifier)]
    if len(tensors) == len(headless):
        places = headless
    if len(tensors) != len(places):
        raise ValueError(
            f"the file has {len(tensors)} tensors, the model {len(places)} ({len(headless)} of them no classifier)"
        )
    placed = {}
    for number, ((name, tensor), (place, like)) in enumerate(zip(tensors, places, strict=True)):
        if _within(place, classifier):
            continue
        if tensor.shape != like.shape:
            raise ValueError(
                f"tensor {number} differs: {name!r} {tuple(tensor.shape)} in the file, "
                f"{place!r} {tuple(like.shape)} in the model"
            )
        placed[place] = tensor
    return placed


def by_name(found: State, wanted: State, classifier: Sequence[str]) -> dict[str, Tensor]:
    """The tensors of a file that a model has a place for, without its classifier.

    Raises:
        ValueError: some are missing, left over or of another shape; says how many, and the nearest names.
    """
    problems = list(_differences(found, wanted, classifier))
    if problems:
        raise ValueError("; ".join(problems))
    return {name: tensor for name, tensor in found.items() if name in wanted and not _within(name, classifier)}


def _differences(found: State, wanted: State, classifier: Sequence[str]) -> Iterator[str]:
    needed = [n for n in wanted if not n.endswith(_COUNTER) and not _within(n, classifier)]
    missing = [n for n in needed if n not in found]
    spare = [n for n in found if n not in wanted and not _within(n, classifier)]
    shapes = [n for n in needed if n in found and found[n].shape != wanted[n].shape]
    if missing:
        close = get_close_matches(missing[0], spare, n=1)
        near = f", nearest in the file: {close[0]!r}" if close else ""
        yield f"{len(missing)} of {len(needed)} keys missing (first: {missing[0]!r}{near})"
    if spare:
        close = get_close_matches(spare[0], needed, n=1)
        near = f", nearest in the model: {close[0]!r}" if close else ""
        yield f"{len(spare)} of {len(found)} keys unexpected (first: {spare[0]!r}{near})"
    if shapes:
        first = shapes[0]
        yield (
            f"{len(shapes)} of another shape (first: {first!r}, {tuple(found[first].shape)} in the file, "
            f"{tuple(wanted[first].shape)} in the model)"
        )


def _within(name: str, prefixes: Sequence[str]) -> bool:
    return any(name.startswith(f"{prefix}.") for prefix in prefixes)
