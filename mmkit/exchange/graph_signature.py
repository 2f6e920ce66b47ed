"""``signature.json``: what a graph takes and gives, for programs that do not know mmkit."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from torch import Tensor

from mmkit import __version__
from mmkit.exchange.graph_check import Runner
from mmkit.exchange.graph_inputs import LENGTH, Field, Place
from mmkit.exchange.graph_module import Graph
from mmkit.exchange.graph_trace import axes_of
from mmkit.exchange.hf_build import ASSETS
from mmkit.model.checkpoint import assets_of
from mmkit.model.model import Model

SIGNATURE = "signature.json"
FORMATS = {"torch": "torch.export", "onnx": "onnx"}


def signature(form: str, graphs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The file's content."""
    return {"mmkit": __version__, "format": FORMATS[form], "graphs": list(graphs)}


def described(model: Model, graph: Graph, file: str, given: Mapping[str, Tensor], run: Runner) -> dict[str, Any]:
    """One graph."""
    task = model.plan.tasks[graph.question.task]
    fields = {field.name: (place, field) for place in graph.question.places for field in place.fields}
    inputs = [one for place, field in fields.values() for one in _inputs(model, graph, place, field)]
    return {
        "file": file,
        "task": task.name,
        "template": model.plan.spec.tasks[task.name].input,
        "inputs": inputs,
        "outputs": _outputs(model, graph, run(given), given),
        "head": {
            "component": task.head.component.full_name,
            "options": _plain(task.head.config.model_dump(mode="json")),
        },
    }


def _inputs(model: Model, graph: Graph, place: Place, field: Field) -> list[dict[str, Any]]:
    axes, like = axes_of(graph, field.name), field.like
    inner = list(like.shape[1:] if field.ragged else like.shape)
    said: dict[str, Any] = {
        "name": field.name,
        "column": place.column,
        "modality": place.modality,
        "dtype": _dtype(like),
        "shape": [axes.get(0, 1), *(axes[at] for at in axes if at), *inner],
    }
    said |= _made_by(model, place)
    if not field.ragged or graph.question.alone:
        return [said]
    said["padding"] = "zeros behind each item's own rows"
    length = field.name + LENGTH
    return [said, {"name": length, "length_of": field.name, "dtype": "int64", "shape": ["batch"]}]


def _made_by(model: Model, place: Place) -> dict[str, Any]:
    """Component, options and files that say how raw values become the tensor."""
    planned = model.plan.modalities[place.modality]
    placed = planned.vocabulary or planned.encoder
    assert placed is not None
    said: dict[str, Any] = {"kind": planned.kind, "component": placed.component.full_name}
    said["options"] = _plain(placed.config.model_dump(mode="json"))
    node = f"{place.modality}.{'adapter' if planned.vocabulary else 'encoder'}"
    if planned.encoder is not None:
        processor: Any = model.parts.encoders[place.modality].processor()
        if is_dataclass(processor):
            said["preprocessing"] = _plain(
                {name: _shown(getattr(processor, name)) for name in processor.__dataclass_fields__}
            )
    else:
        vocabulary = model.vocabularies[place.modality]
        said["ids"] = {"size": vocabulary.size, "begin": vocabulary.begin_id, "end": vocabulary.end_id}
    if node in assets_of(model):
        said["files"] = f"{ASSETS}/{node}"
    return said


def _outputs(
    model: Model, graph: Graph, found: Mapping[str, Tensor], given: Mapping[str, Tensor]
) -> list[dict[str, Any]]:
    labels = getattr(model.parts.heads[graph.question.task], "labels", None)
    outputs = []
    for name, value in found.items():
        shape: list[Any] = [1 if graph.question.alone else "batch", *value.shape[1:]]
        if name + LENGTH in found:
            shape[1] = f"{name}_rows"
        said: dict[str, Any] = {"name": name, "dtype": _dtype(value), "shape": shape}
        if isinstance(labels, list) and value.shape[-1] == len(labels):
            said["labels"] = labels
        if name.endswith(LENGTH) and name.removesuffix(LENGTH) in found:
            said["length_of"] = name.removesuffix(LENGTH)
        outputs.append(said)
    return outputs


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _shown(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _plain(value: Any) -> Any:
    """What JSON can say of it."""
    if isinstance(value, Mapping):
        shown = {str(name): _plain(child) for name, child in value.items()}
        return {name: child for name, child in shown.items() if child is not None}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    return value if isinstance(value, bool | int | float | str) else None
