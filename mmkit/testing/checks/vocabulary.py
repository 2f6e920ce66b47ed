"""Raw values ⇄ ids."""

import contextlib
import pickle
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmkit.errors import SampleError
from mmkit.interfaces import Fittable, Grammar, HasAssets, HasPieces
from mmkit.testing.check import NotApplicable, check, require
from mmkit.testing.subject import Subject, VocabularySubject, WrittenSubject
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
        require(_same(subject, got, raw), f"{short(raw)} became {short(got)}")


@check("silver", _VOCABULARY, "skip begin and end in decode")
def begin_and_end_are_not_decoded(subject: Subject) -> None:
    """decode ignores begin and end ids."""
    assert isinstance(subject, VocabularySubject)
    made = subject.built
    for raw in subject.raws:
        plain = made.encode(raw)
        got, wanted = made.decode([made.begin_id, *plain, made.end_id]), made.decode(plain)
        require(_same(subject, got, wanted), f"{short(wanted)} became {short(got)}")


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
    again = from_assets(subject)
    require(_ids(again, subject.raws) == _ids(subject.built, subject.raws), "the ids are other ones")


@check("silver", _VOCABULARY, "break ties in a fixed order, and never iterate over a set")
def fitting_is_deterministic(subject: Subject) -> None:
    """Fitted twice on the same values it gives the same ids."""
    assert isinstance(subject, VocabularySubject)
    if not isinstance(subject.built, Fittable):
        raise NotApplicable("it does not learn from data")
    again = subject.build()
    require(_ids(again, subject.raws) == _ids(subject.built, subject.raws), "the ids are other ones")


@check("bronze", _VOCABULARY, "let allowed(ids) give what may follow, and the end id where a value may end")
def grammar_fits_its_values(subject: Subject) -> None:
    """Every id of a value is allowed in its place; whatever is allowed ends by `longest` and can be decoded."""
    made: Any = subject.built
    limited = isinstance(made, Grammar)
    if not limited:
        raise NotApplicable("any id may follow any other")
    require(made.streams >= 1, f"streams is {made.streams}")
    for item in subject.outputs().split():
        ids = item.tolist()
        require(len(ids) % made.streams == 0, f"{len(ids)} ids are no whole steps of {made.streams}")
        require(len(ids) + made.streams <= made.longest, f"{len(ids)} ids and an end, longest is {made.longest}")
        for place, id_ in enumerate([*ids, made.end_id]):
            fits = any(id_ in some for some in made.allowed(ids[:place]))
            require(fits, f"id {id_} at place {place} of {ids[:8]}… is not allowed there")
    draw = random.Random(0)
    for _ in range(3):
        made.decode(_walk(made, draw))


@check("silver", _VOCABULARY, "let pieces() give for each id what decode writes for it, as bytes")
def pieces_spell_texts(subject: Subject) -> None:
    """The pieces of its ids, joined, are the text that decode gives, but for a space at the beginning."""
    made: Any = subject.built
    says = isinstance(made, HasPieces)
    if not says:
        raise NotApplicable("it does not say what its ids spell")
    pieces = list(made.pieces())
    require(len(pieces) == made.size, f"{len(pieces)} pieces for {made.size} ids")
    for i in (made.begin_id, made.end_id):
        require(pieces[i] is None, f"id {i} begins or ends a text and spells {pieces[i]!r}")
    for item in subject.outputs().split():
        ids = [i for i in item.tolist() if pieces[i] is not None]
        got, wanted = b"".join(pieces[i] or b"" for i in ids).decode("utf-8", "replace"), made.decode(ids)
        require(got in (wanted, f" {wanted}"), f"{short(wanted)} is spelt {short(got)}")


def _walk(made: Any, draw: random.Random) -> list[int]:
    """A value at random; long ones end as soon as they may."""
    ids: list[int] = []
    while len(ids) < made.longest:
        legal = list(made.allowed(ids))
        require(any(legal), f"nothing is allowed after {len(ids)} ids")
        ends = any(made.end_id in some for some in legal)
        if ends and (len(ids) > 200 or draw.random() < 0.05 or sum(map(len, legal)) == 1):
            return ids
        one = draw.choice([some for some in legal if len(some) > 1 or made.end_id not in some] or legal)
        ids.append(draw.choice(one))
        if ids[-1] == made.end_id:
            return ids[:-1]
    require(False, f"{len(ids)} ids and no end, longest is {made.longest}")
    return ids


def from_assets(subject: WrittenSubject) -> Any:
    """The component built again from its saved files."""
    made: Any = subject.built
    if not isinstance(made, HasAssets):
        require(not isinstance(made, Fittable), "it learns from data and has no save_assets")
        raise NotApplicable("it needs no files")
    with tempfile.TemporaryDirectory(dir=subject.folder) as name:
        made.save_assets(Path(name))
        again = subject.build(assets=Path(name), load_weights=False)
    require(not isinstance(again, Fittable) or again.fitted, "built from its files it is not fitted")
    return again


def _ids(made: Any, raws: Sequence[Any]) -> list[list[int]]:
    return [list(made.encode(raw)) for raw in raws]


def _same(subject: Subject, got: Any, wanted: Any) -> bool:
    return bool(subject.case.same(got, wanted) if subject.case.same else got == wanted)


def short(value: Any) -> str:
    """As messages show a value."""
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."
