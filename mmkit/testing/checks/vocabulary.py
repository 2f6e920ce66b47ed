"""Raw values ⇄ ids."""

import contextlib
import pickle
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmkit.errors import SampleError
from mmkit.interfaces import Fittable, HasAssets
from mmkit.testing.check import NotApplicable, check, require
from mmkit.testing.subject import Subject, VocabularySubject
from mmkit.testing.worker import elsewhere, ids

_VOCABULARY = ("vocabulary",)
_MARKUP = ("<s>", "</s>", "<pad>", "<|endoftext|>", "<|im_start|>system", "[CLS] [SEP]", "<image>", "{image}")


@check("bronze", _VOCABULARY, "count every id in `size`, begin and end included")
def ids_are_in_range(subject: Subject) -> None:
    """Every id lies between 0 and size - 1; begin and end do too."""
    made = subject.built
    found = [i for item in subject.outputs().split() for i in item.tolist()]
    found += [made.begin_id, made.end_id]
    require(all(0 <= i < made.size for i in found), f"size is {made.size}, ids go from {min(found)} to {max(found)}")


@check("bronze", _VOCABULARY, "leave begin and end out of encode; the core adds them")
def begin_and_end_are_not_encoded(subject: Subject) -> None:
    """encode gives neither the begin nor the end id."""
    made = subject.built
    for item in subject.outputs().split():
        require(made.begin_id not in item.tolist() and made.end_id not in item.tolist(), f"in {item.tolist()}")


@check("bronze", _VOCABULARY, "let decode undo encode, or say in the case when two values are the same")
def decode_undoes_encode(subject: Subject) -> None:
    """decode(encode(value)) is the value."""
    assert isinstance(subject, VocabularySubject)
    for raw in subject.raws:
        got = subject.built.decode(subject.built.encode(raw))
        require(_same(subject, got, raw), f"{_short(raw)} became {_short(got)}")


@check("silver", _VOCABULARY, "skip begin and end in decode")
def begin_and_end_are_not_decoded(subject: Subject) -> None:
    """decode ignores begin and end ids."""
    assert isinstance(subject, VocabularySubject)
    made = subject.built
    for raw in subject.raws:
        plain = made.encode(raw)
        got, wanted = made.decode([made.begin_id, *plain, made.end_id]), made.decode(plain)
        require(_same(subject, got, wanted), f"{_short(wanted)} became {_short(got)}")


@check("bronze", _VOCABULARY, "encode text with special tokens switched off: user text is never structure")
def markup_stays_text(subject: Subject) -> None:
    """Text that looks like a special token or a placeholder stays text."""
    assert isinstance(subject, VocabularySubject)
    if not isinstance(subject.raws[0], str):
        raise NotApplicable("it does not write text")
    made = subject.built
    for text in _MARKUP:
        found = made.encode(text)
        require(made.begin_id not in found and made.end_id not in found, f"{text!r} became a begin or end id")


@check("silver", _VOCABULARY, "return [] for an empty value, or raise SampleError")
def empty_values_are_defined(subject: Subject) -> None:
    """An empty text has no ids or raises SampleError; no ids decode without an error."""
    assert isinstance(subject, VocabularySubject)
    made = subject.built
    made.decode([])
    if isinstance(subject.raws[0], str):
        with contextlib.suppress(SampleError):
            require(list(made.encode("")) == [], "an empty text has ids")


@check("silver", _VOCABULARY, "hold plain values: no lambdas, open files or module objects")
def vocabulary_travels(subject: Subject) -> None:
    """In a worker that is started anew it gives the same ids."""
    assert isinstance(subject, VocabularySubject)
    require(len(pickle.dumps(subject.built)) < 50_000_000, "it pickles to more than 50 MB")
    got = elsewhere(ids, subject.built, subject.raws)
    require(got == [item.tolist() for item in subject.outputs().split()], "the ids are other ones there")


@check("silver", _VOCABULARY, "write everything encode and decode need in save_assets, and read it from context.assets")
def assets_round_trip(subject: Subject) -> None:
    """Built again from its saved files it gives the same ids."""
    assert isinstance(subject, VocabularySubject)
    made: Any = subject.built
    if not isinstance(made, HasAssets):
        require(not isinstance(made, Fittable), "it learns from data and has no save_assets")
        raise NotApplicable("it needs no files")
    with tempfile.TemporaryDirectory(dir=subject.folder) as name:
        made.save_assets(Path(name))
        again = subject.build(assets=Path(name), load_weights=False)
    require(not isinstance(again, Fittable) or again.fitted, "built from its files it is not fitted")
    require(_ids(again, subject.raws) == _ids(subject.built, subject.raws), "the ids are other ones")


@check("silver", _VOCABULARY, "break ties in a fixed order, and never iterate over a set")
def fitting_is_deterministic(subject: Subject) -> None:
    """Fitted twice on the same values it gives the same ids."""
    assert isinstance(subject, VocabularySubject)
    if not isinstance(subject.built, Fittable):
        raise NotApplicable("it does not learn from data")
    again = subject.build()
    require(_ids(again, subject.raws) == _ids(subject.built, subject.raws), "the ids are other ones")


def _ids(made: Any, raws: Sequence[Any]) -> list[list[int]]:
    return [list(made.encode(raw)) for raw in raws]


def _same(subject: Subject, got: Any, wanted: Any) -> bool:
    return bool(subject.case.same(got, wanted) if subject.case.same else got == wanted)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."
