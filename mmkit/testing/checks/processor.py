"""What an encoder's processor does, in this process and in a data worker."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.errors import SampleError
from mmkit.interfaces import HasExample, Processor
from mmkit.ragged import Ragged
from mmkit.testing.check import NotApplicable, check, require
from mmkit.testing.subject import EncoderSubject, Subject, seeded
from mmkit.testing.worker import elsewhere, prepared

_ENCODER = ("encoder",)
_READS = ("encoder", "vocabulary", "continuous", "head")


class Foreign:
    """A class that no component has heard of."""


@check("bronze", _ENCODER, "keep weights in the encoder; hold plain values in the processor, no open files or lambdas")
def processor_travels(subject: Subject) -> None:
    """The processor pickles to less than a megabyte and holds no weights."""
    processor = subject.built.processor()
    require(isinstance(processor, Processor), f"processor() gave a {type(processor).__name__}")
    heavy = [name for name, value in vars(processor).items() if isinstance(value, nn.Module)]
    require(not heavy, f"it holds a module: {', '.join(heavy)}")
    size = len(pickle.dumps(processor))
    require(size < 1_000_000, f"it pickles to {size:,} bytes")


@check("silver", _ENCODER, "rely on nothing that only this process has: globals, patched modules, the working folder")
def worker_prepares_the_same(subject: Subject) -> None:
    """In a worker that is started anew it prepares the same items."""
    assert isinstance(subject, EncoderSubject)
    items = elsewhere(prepared, subject.processor, subject.raws)
    for place, (got, wanted) in enumerate(zip(items, subject.inputs, strict=True)):
        require(list(got) == list(wanted), f"item {place} has the entries {', '.join(got)}")
        for name, value in wanted.items():
            require(torch.equal(torch.as_tensor(got[name]), value), f"{name} of item {place} is another one there")


@check("bronze", _ENCODER, "return a dict of CPU tensors")
def items_are_tensors(subject: Subject) -> None:
    """An item is a mapping of tensors on the CPU, without gradients; a batch of tensors and Ragged."""
    assert isinstance(subject, EncoderSubject)
    for item in subject.inputs:
        odd = [name for name, value in item.items() if not isinstance(value, Tensor) or value.device.type != "cpu"]
        require(not odd, f"no CPU tensors: {', '.join(odd)}")
    batch = subject.processor.collate(subject.inputs)
    odd = [name for name, value in batch.items() if not isinstance(value, Tensor | Ragged)]
    require(not odd, f"neither a tensor nor a Ragged: {', '.join(odd)}")


@check("silver", _ENCODER, "copy what is changed in place")
def raw_values_stay_as_they_are(subject: Subject) -> None:
    """Preparing a value does not change it."""
    assert isinstance(subject, EncoderSubject)
    for raw in subject.raws:
        before = pickle.dumps(copy.deepcopy(raw))
        subject.prepare(raw)
        require(pickle.dumps(copy.deepcopy(raw)) == before, f"a {type(raw).__name__} was changed")


@check("silver", _ENCODER, "set `deterministic` only if nothing random happens; draw from the global generators else")
def chance_is_declared(subject: Subject) -> None:
    """A processor that says it is deterministic ignores the random state; any other follows it."""
    assert isinstance(subject, EncoderSubject)
    processor = subject.processor
    for raw in subject.raws:
        items = []
        for seed in (1, 1, 2):
            with seeded(seed):
                items.append(processor(raw))
        require(_same(items[0], items[1]), "with one random state, two calls give different items")
        if processor.deterministic:
            require(_same(items[0], items[2]), "it says deterministic, and follows the random state")


@check("silver", _ENCODER, "give the processor a method example(), so that `mmkit check` can count tokens")
def example_is_shown(subject: Subject) -> None:
    """It shows an example, says what it is, and can prepare it."""
    assert isinstance(subject, EncoderSubject)
    require(isinstance(subject.processor, HasExample), "the processor has no example()")
    what, raw = subject.processor.example()
    require(isinstance(what, str) and bool(what), f"what it is: {what!r}")
    require(subject.processor.num_features(subject.processor(raw)) > 0, "the example has no features")


@check("bronze", _READS, "check the type first, and raise SampleError with what was got and what is wanted")
def foreign_values_are_refused(subject: Subject) -> None:
    """None, and an object of a class it cannot know, raise SampleError with a reason."""
    for raw in (None, Foreign()):
        _refused(_reader(subject), raw)


@check("silver", _READS, "turn every error of the decoder into SampleError, and check sizes before decoding")
def bad_values_are_refused(subject: Subject) -> None:
    """Every bad value of the case raises SampleError with a reason: corrupt, empty, huge, of the wrong type."""
    bad = subject.values("bad")
    if not bad and not getattr(subject, "raws", [None])[0] is not None:
        raise NotApplicable("it reads no values")
    require(bool(bad), "the case names no bad values: give an empty one, a corrupt one and a huge one")
    for raw in bad:
        _refused(_reader(subject), raw)


def _reader(subject: Subject) -> Callable[[Any], Any]:
    if isinstance(subject, EncoderSubject):
        return subject.processor
    if subject.component.kind == "head":
        if getattr(subject, "raws", [None])[0] is None:
            raise NotApplicable("it has no targets")
        return subject.built.target
    return subject.built.encode


def _refused(read: Callable[[Any], Any], raw: Any) -> None:
    shown = repr(raw) if len(repr(raw)) < 60 else f"a {type(raw).__name__}"
    try:
        read(raw)
    except SampleError as error:
        require(len(str(error)) > 8, f"{shown} is refused without a reason: {error}")
    except Exception as error:
        require(False, f"{shown} raises {type(error).__name__} instead of SampleError: {error}")
    else:
        require(False, f"{shown} is taken")


def _same(one: Any, other: Any) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)
