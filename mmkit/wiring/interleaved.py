"""One vocabulary out of several: outputs that change between modalities, such as text with pictures in it."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmkit.errors import SampleError, nearest
from mmkit.interfaces import Grammar, VocabularyAdapter
from mmkit.interfaces.codec import streams_of
from mmkit.spec.template import Literal, Slot

TEXT = 64
"""Ids that a piece of text is thought to have where the length of an output is estimated."""
PARTS = 4
"""Values of each modality that a column of several is thought to have there."""


class Interleaved(VocabularyAdapter):
    """Ids of the whole shared table. The main modality's ids stand by themselves; a value of another one stands between its
    begin and its end id, and everything ends with the main modality's end id.

    Args:
        vocabularies, offsets: of every modality in the output, by name; ``main`` is one of them.
        parts: the output's template; ``modality_of`` says what its columns are.
        size: rows of the shared table. mixed: the modalities of columns whose values are lists of parts.
    """

    def __init__(
        self,
        vocabularies: Mapping[str, VocabularyAdapter],
        offsets: Mapping[str, int],
        main: str,
        parts: Sequence[Literal | Slot],
        modality_of: Mapping[str, str],
        size: int,
        mixed: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.vocabularies, self.offsets, self.main = vocabularies, offsets, main
        self.parts, self.modality_of, self.size = tuple(parts), dict(modality_of), size
        self.mixed = {column: tuple(names) for column, names in (mixed or {}).items()}
        self.begin_id = offsets[main] + vocabularies[main].begin_id
        self.end_id = offsets[main] + vocabularies[main].end_id
        others = [name for name in vocabularies if name != main]
        self.begins = {offsets[name] + vocabularies[name].begin_id: name for name in others}
        self.ends = {offsets[name] + vocabularies[name].end_id: name for name in others}
        self.longest = 1 + sum(self._longest(part) for part in parts)
        self.streams = 1

    def _longest(self, part: Literal | Slot) -> int:
        if isinstance(part, Literal):
            return self._one(self.main)
        if part.column in self.mixed:
            return PARTS * sum(self._one(name) for name in self.mixed[part.column])
        return self._one(self.modality_of[part.column])

    def _one(self, name: str) -> int:
        vocabulary = self.vocabularies[name]
        return (vocabulary.longest if isinstance(vocabulary, Grammar) else TEXT) + 1

    def encode(self, raw: Any) -> list[int]:
        """The template with the columns of ``raw``, a mapping, filled in.

        Raises:
            SampleError: a column cannot be encoded.
        """
        ids: list[int] = []
        for part in self.parts:
            if isinstance(part, Literal):
                ids += self._shifted(self.main, self.vocabularies[self.main].encode(part.text))
                continue
            try:
                if part.column in self.mixed:
                    for name, value in parts_of(raw[part.column], self.mixed[part.column]):
                        ids += self._value(name, value)
                else:
                    ids += self._value(self.modality_of[part.column], raw[part.column])
            except SampleError as error:
                raise SampleError(f"column {part.column!r}: {error}") from None
        return ids

    def _value(self, name: str, raw: Any) -> list[int]:
        """Ids of one value, between its begin and end where it is not of the main modality."""
        vocabulary = self.vocabularies[name]
        own = self._shifted(name, vocabulary.encode(raw))
        if name == self.main:
            return own
        return [self.offsets[name] + vocabulary.begin_id, *own, self.offsets[name] + vocabulary.end_id]

    def _shifted(self, name: str, ids: Sequence[int]) -> list[int]:
        return [self.offsets[name] + i for i in ids]

    def decode(self, ids: Sequence[int]) -> list[dict[str, Any]]:
        """The values in their order, ``[{"text": …}, {"image": …}]``; one that was cut holds what is there."""
        values: list[dict[str, Any]] = []
        inside, own = self.main, list[int]()
        for i in [*ids, self.end_id]:
            if i in self.begins or i in self.ends or i == self.end_id:
                if own or inside != self.main:
                    values.append({inside: self.vocabularies[inside].decode(own)})
                inside, own = self.begins.get(i, self.main), []
                if i == self.end_id:
                    break
            elif i != self.begin_id:
                own.append(i - self.offsets[inside])
        return [value for value in values if value.get(self.main) != ""]

    def allowed(self, ids: Sequence[int]) -> list[range]:
        """Inside a value of another modality, what that allows; else the main modality's ids, and every beginning."""
        at = next((at for at in range(len(ids) - 1, -1, -1) if ids[at] in self.begins or ids[at] in self.ends), -1)
        name = self.begins.get(ids[at], self.main) if at >= 0 else self.main
        offset, vocabulary = self.offsets[name], self.vocabularies[name]
        if name == self.main:
            begin = self.begin_id if self.begin_id != self.end_id else offset + vocabulary.size
            own = [range(offset, begin), range(begin + 1, offset + vocabulary.size)]
            return [some for some in own if some] + [range(i, i + 1) for i in self.begins]
        if not isinstance(vocabulary, Grammar):
            begin = vocabulary.begin_id
            return [range(offset, offset + begin), range(offset + begin + 1, offset + vocabulary.size)]
        inside = [i - offset for i in ids[at + 1 :]]
        return [range(offset + some.start, offset + some.stop) for some in vocabulary.allowed(inside)]


def parts_of(raw: Any, modalities: Sequence[str]) -> list[tuple[str, Any]]:
    """Modality and value of every part of a column that has several.

    Raises:
        SampleError: it is no list of ``{modality: value}``, or a modality is not one of the column's.
    """
    wanted = f"wanted is a list of parts such as {{{modalities[0]!r}: …}}"
    if not isinstance(raw, list | tuple):
        raise SampleError(f"{wanted}, got {type(raw).__name__}")
    found = []
    for at, part in enumerate(raw):
        # a table gives every part all of its keys, most of them empty
        given = {name: value for name, value in part.items() if value is not None} if isinstance(part, Mapping) else {}
        if len(given) != 1:
            raise SampleError(f"part {at}: {wanted}, got {len(given)} values in it")
        ((name, value),) = given.items()
        if name not in modalities:
            raise SampleError(f"part {at} is of modality {name!r}: {nearest(str(name), list(modalities))}")
        found.append((name, value))
    return found


def unfit(vocabularies: Mapping[str, VocabularyAdapter]) -> str | None:
    """The modality that cannot be one of several, because several of its ids are predicted at once."""
    return next((name for name, vocabulary in vocabularies.items() if streams_of(vocabulary) > 1), None)
