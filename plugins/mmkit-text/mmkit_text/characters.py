"""One id a character, the characters learnt from the data."""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmkit import BuildContext, VocabularyAdapter
from mmkit_text.texts import checked, usable

UNKNOWN, BEGIN, END, FIRST = 0, 1, 2, 3


class Characters(VocabularyAdapter):
    """Ids by code point order; 0 is an unknown character, 1 begins and 2 ends a text. Text is normalised to NFC."""

    begin_id, end_id = BEGIN, END

    def __init__(self, max_size: int, lowercase: bool, max_length: int | None) -> None:
        self.size = max_size
        self.lowercase, self.max_length = lowercase, max_length
        self.characters = ""
        self.index: dict[str, int] = {}

    @property
    def fitted(self) -> bool:
        """Whether characters have been learnt."""
        return bool(self.characters)

    def _normal(self, raw: Any) -> str:
        text = unicodedata.normalize("NFC", checked(raw))
        return text.lower() if self.lowercase else text

    def fit(self, raws: Iterable[Any]) -> None:
        """Keep the most frequent characters, at most ``max_size`` with the three special ids.

        Raises:
            DataError: there is no text at all.
        """
        counts: dict[str, int] = {}
        for raw in usable(raws, "characters"):
            for character in self._normal(raw):
                counts[character] = counts.get(character, 0) + 1
        ranked = sorted(counts, key=lambda c: (-counts[c], c))[: self.size - FIRST]
        self._set("".join(sorted(ranked)))

    def _set(self, characters: str) -> None:
        self.characters = characters
        self.index = {c: number + FIRST for number, c in enumerate(characters)}
        self.size = len(characters) + FIRST

    def encode(self, raw: Any) -> list[int]:
        """Ids of the characters, at most ``max_length``; never begin or end."""
        return [self.index.get(c, UNKNOWN) for c in self._normal(raw)[: self.max_length]]

    def decode(self, ids: Sequence[int]) -> str:
        """The characters; unknown ones as U+FFFD, begin and end left out."""
        return "".join(
            "\ufffd" if i == UNKNOWN else self.characters[i - FIRST]
            for i in ids
            if i == UNKNOWN or FIRST <= i < self.size
        )

    def pieces(self) -> list[bytes | None]:
        """The characters."""
        return [None] * FIRST + [character.encode("utf-8", "surrogatepass") for character in self.characters]

    def save_assets(self, folder: Path) -> None:
        """Write the characters."""
        (folder / "characters.json").write_text(json.dumps(self.characters), "utf-8")


def build(context: BuildContext, *, max_size: int, lowercase: bool, max_length: int | None) -> Characters:
    """The vocabulary, with its characters where it was saved before."""
    characters = Characters(max_size, lowercase, max_length)
    if context.assets is not None:
        characters._set(json.loads((context.assets / "characters.json").read_text("utf-8")))
    return characters
