"""An exported graph beside the model it is of, number by number."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mmkit.errors import MmkitError
from mmkit.exchange.graph_inputs import LENGTH, tensors_of
from mmkit.exchange.graph_module import Question
from mmkit.model.batch import Sample, pack
from mmkit.model.model import Model, Run
from mmkit.ragged import Ragged

TOLERANCE = 1e-4
"""Absolute, and relative to the model's own number; whichever allows more."""
Runner = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


def torch_runner(path: Path) -> Runner:
    """What a file of torch.export computes."""
    module = torch.export.load(path).module()
    return lambda given: module(**given)


def onnx_runner(path: Path) -> Runner:
    """What a file of ONNX computes, with onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(given: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        found = session.run(names, {name: value.numpy() for name, value in given.items()})
        return {name: torch.from_numpy(value) for name, value in zip(names, found, strict=True)}

    return run


@torch.no_grad()
def largest_difference(model: Model, question: Question, run: Runner, samples: Sequence[Sample]) -> float:
    """Between what a graph gives and what the model gives, over batches of one, of some and of all samples.

    Raises:
        MmkitError: it is larger than ``TOLERANCE``, or the graph cannot be run.
    """
    worst, batches, alone = 0.0, [samples[:1], samples[-1:], samples[1:4], samples], bool(question.alone)
    for batch in [samples[at : at + 1] for at in range(len(samples))] if alone else batches:
        given = tensors_of(model, question.places, batch, alone)
        try:
            found = run(given)
        except Exception as error:
            shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in given.items())
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise MmkitError(
                f"task {question.task!r}: the graph that was written cannot be run on {shapes}: {reason}"
            ) from error
        for name, wanted in _wanted(model, question, batch).items():
            worst = max(worst, _difference(question, name, found, wanted))
    return worst


def _wanted(model: Model, question: Question, samples: Sequence[Sample]) -> dict[str, Tensor | Ragged]:
    """What the model itself computes, of packed samples."""
    run, every = Run(model, pack(samples, model.processors())), list(range(len(samples)))
    return dict(question.answer([run.read(node, every) for node in question.nodes]))


def _difference(question: Question, name: str, found: Mapping[str, Tensor], wanted: Tensor | Ragged) -> float:
    got, where = found[name], f"task {question.task!r}: output {name!r} of the graph that was written"
    if isinstance(wanted, Ragged):
        lengths = found[name + LENGTH]
        if lengths.tolist() != wanted.sizes:
            raise MmkitError(f"{where} has {lengths.tolist()} rows, the model gives {wanted.sizes}")
        got, wanted = Ragged.from_padded(got, lengths).values, wanted.values
    if got.shape != wanted.shape:
        raise MmkitError(f"{where} has the shape {list(got.shape)}, the model gives {list(wanted.shape)}")
    if not got.numel():
        return 0.0
    apart = (got.double() - wanted.double()).abs()
    apart = torch.where(got == wanted, 0.0, apart)
    if not bool((apart <= TOLERANCE * wanted.double().abs().clamp(min=1.0)).all()):
        raise MmkitError(
            f"{where} differs from the model's by {float(apart.max()):.1e}; {TOLERANCE:.0e} is allowed, so nothing was written"
        )
    return float(apart.max())
