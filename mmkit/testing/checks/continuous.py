"""Raw values ⇄ vectors."""

import pickle
from typing import Any

import torch
from torch import Tensor

from mmkit.testing.check import check, require
from mmkit.testing.checks.vocabulary import from_assets, short
from mmkit.testing.subject import ContinuousSubject, Subject
from mmkit.testing.worker import elsewhere, vectors

_CONTINUOUS = ("continuous",)
_LARGEST = 10.0


@check("bronze", _CONTINUOUS, "fill shorter values up, cut or refuse longer ones, and return float32 on the CPU")
def vectors_have_the_promised_shape(subject: Subject) -> None:
    """encode gives float32 vectors, ``length`` of them, ``dim`` wide, all finite."""
    assert isinstance(subject, ContinuousSubject)
    for raw, got in zip(subject.raws, _encoded(subject, subject.built), strict=True):
        wanted = [subject.built.length, subject.built.dim]
        require(list(got.shape) == wanted, f"{short(raw)}: the shape is {list(got.shape)}, promised was {wanted}")
        require(got.dtype == torch.float32, f"{short(raw)}: the vectors are {got.dtype}")
        require(bool(got.isfinite().all()), f"{short(raw)}: not all numbers are finite")


@check("silver", _CONTINUOUS, "scale the numbers to about -1 … 1")
def vectors_have_the_scale_of_noise(subject: Subject) -> None:
    """No number of encode is larger than 10 either way."""
    assert isinstance(subject, ContinuousSubject)
    largest = max(float(got.abs().max()) for got in _encoded(subject, subject.built))
    require(largest <= _LARGEST, f"there is a {largest:.3g}")


@check("bronze", _CONTINUOUS, "let decode undo encode, or say in the case when two values are the same")
def decode_undoes_encode_of_vectors(subject: Subject) -> None:
    """decode(encode(value)) is the value."""
    assert isinstance(subject, ContinuousSubject)
    for raw, encoded in zip(subject.raws, _encoded(subject, subject.built), strict=True):
        got = subject.built.decode(encoded)
        same = subject.case.same(got, raw) if subject.case.same else got == raw
        require(bool(same), f"{short(raw)} became {short(got)}")


@check("bronze", _CONTINUOUS, "clamp in decode: a head may give any number")
def any_vectors_can_be_decoded(subject: Subject) -> None:
    """decode takes noise, zeros and large numbers, and leaves them as they are."""
    assert isinstance(subject, ContinuousSubject)
    made = subject.built
    noise = torch.randn(made.length, made.dim, generator=torch.Generator().manual_seed(0))
    for given in (noise, torch.zeros_like(noise), 100 * noise):
        before = given.clone()
        require(made.decode(given) is not None, "decode gave nothing")
        require(torch.equal(given, before), "decode changed the vectors it was given")


@check("silver", _CONTINUOUS, "hold plain values: no lambdas, open files or module objects")
def continuous_adapter_travels(subject: Subject) -> None:
    """In a worker that is started anew it gives the same vectors."""
    assert isinstance(subject, ContinuousSubject)
    require(len(pickle.dumps(subject.built)) < 50_000_000, "it pickles to more than 50 MB")
    got = [torch.from_numpy(array) for array in elsewhere(vectors, subject.built, subject.raws)]
    require(_equal(got, _encoded(subject, subject.built)), "the vectors are other ones there")


@check("silver", _CONTINUOUS, "write everything encode and decode need in save_assets, and read it from context.assets")
def continuous_assets_round_trip(subject: Subject) -> None:
    """Built again from its saved files it gives the same vectors."""
    assert isinstance(subject, ContinuousSubject)
    again = from_assets(subject)
    require(_equal(_encoded(subject, again), _encoded(subject, subject.built)), "the vectors are other ones")


def _encoded(subject: ContinuousSubject, made: Any) -> list[Tensor]:
    return [made.encode(raw) for raw in subject.raws]


def _equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
