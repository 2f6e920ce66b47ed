"""One vocabulary out of several: outputs that change between modalities, such as text with pictures in it."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmkit.errors import SampleError
from mmkit.interfaces import Grammar, VocabularyAdapter
from mmkit.interfaces.codec import streams_of
from mmkit.spec.template import Literal, Slot

TEXT = 64
"""Ids that a piece of text is thought to have where the length of an output is estimated."""


class Interleaved(VocabularyAdapter):
    """Ids of the whole shared table. The main modality's ids stand by themselves; a value of another one stands between its
    begin and its end id, and everything ends with the main modality's end id.

    Args:
        vocabularies, offsets: of every modality in the output, by name; ``main`` is one of them.
        parts: the output's template; ``modality_of`` says what its columns are.
        size: rows of the shared table.
    """

    def __init__(
        self,
        vocabularies: Mapping[str, VocabularyAdapter],
        offsets: Mapping[str, int],
        main: str,
        parts: Sequence[Literal | Slot],
        modality_of: Mapping[str, str],
        size: int,
    ) -> None:
        self.vocabularies, self.offsets, self.main = vocabularies, offsets, main
        self.parts, self.modality_of, self.size = tuple(parts), dict(modality_of), size
        self.begin_id = offsets[main] + vocabularies[main].begin_id
        self.end_id = offsets[main] + vocabularies[main].end_id
        others = [name for name in vocabularies if name != main]
        self.begins = {offsets[name] + vocabularies[name].begin_id: name for name in others}
        self.ends = {offsets[name] + vocabularies[name].end_id: name for name in others}
        self.longest = 1 + sum(self._longest(part) for part in parts)
        self.streams = 1

    def _longest(self, part: Literal | Slot) -> int:
        name = self.main if isinstance(part, Literal) else self.modality_of[part.column]
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
            name = self.modality_of[part.column]
            try:
                own = self._shifted(name, self.vocabularies[name].encode(raw[part.column]))
            except SampleError as error:
                raise SampleError(f"column {part.column!r}: {error}") from None
            around = [
                self.offsets[name] + i for i in (self.vocabularies[name].begin_id, self.vocabularies[name].end_id)
            ]
            ids += own if name == self.main else [around[0], *own, around[1]]
        return ids

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


def unfit(vocabularies: Mapping[str, VocabularyAdapter]) -> str | None:
    """The modality that cannot be one of several, because several of its ids are predicted at once."""
    return next((name for name, vocabulary in vocabularies.items() if streams_of(vocabulary) > 1), None)
