"""Word-level vocabulary learnt from the data by frequency."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmkit import BuildContext, VocabularyAdapter
from mmkit_text.texts import checked, usable

_WORD = re.compile(r"\w+(?:'\w+)*|[^\w\s]")
UNKNOWN, BEGIN, END = 0, 1, 2
_FIRST = 3


class Words(VocabularyAdapter):
    """Ids by frequency; 0 is an unknown word, 1 begins and 2 ends a generated text."""

    begin_id = BEGIN
    end_id = END

    def __init__(self, vocab_size: int, lowercase: bool, max_length: int | None) -> None:
        self.size = vocab_size
        self.lowercase = lowercase
        self.max_length = max_length
        self.words: list[str] = []
        self.index: dict[str, int] = {}

    @property
    def fitted(self) -> bool:
        """Whether words have been learnt."""
        return bool(self.words)

    def _split(self, raw: Any) -> list[str]:
        text = checked(raw)
        return _WORD.findall(text.lower() if self.lowercase else text)

    def fit(self, raws: Iterable[Any]) -> None:
        """Keep the most frequent words; ties in the order of the alphabet.

        Raises:
            DataError: there is no text at all.
        """
        counts: Counter[str] = Counter()
        for raw in usable(raws, "words"):
            counts.update(self._split(raw))
        ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        self._set([word for word, _ in ranked[: self.size - _FIRST]])

    def _set(self, words: list[str]) -> None:
        self.words = words
        self.index = {word: number + _FIRST for number, word in enumerate(words)}

    def encode(self, raw: Any) -> list[int]:
        """Ids of the words; never begin or end."""
        return [self.index.get(word, UNKNOWN) for word in self._split(raw)[: self.max_length]]

    def decode(self, ids: Sequence[int]) -> str:
        """Words joined by spaces."""
        return " ".join(self.words[i - _FIRST] for i in ids if _FIRST <= i < _FIRST + len(self.words))

    def save_assets(self, folder: Path) -> None:
        """Write the words, most frequent first."""
        (folder / "words.json").write_text(json.dumps(self.words, ensure_ascii=False), "utf-8")


def build(context: BuildContext, *, vocab_size: int, lowercase: bool, max_length: int | None) -> Words:
    """The vocabulary, with its words where it was saved before."""
    words = Words(vocab_size, lowercase, max_length)
    if context.assets is not None:
        words._set(json.loads((context.assets / "words.json").read_text("utf-8")))
    return words
