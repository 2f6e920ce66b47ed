"""A ready-made tokenizer (of a pretrained language model, say) as a vocabulary. Text never becomes a special token."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from mmkit import BuildContext, SampleError, VocabularyAdapter
from mmkit_text.pieces import pieces_of
from mmkit_text.texts import EXAMPLE, checked
from mmkit_text.tokenizer_files import TokenizerFiles, begin_and_end, content, read_files

_MARKUP = re.compile(r"<(?!0x[0-9A-Fa-f]{2}>)[^\s<>]+>|\[[A-Z_]+\]")
_SETTINGS = "vocabulary.json"


@dataclass(frozen=True)
class TokenizerSettings:
    """What is known of a tokenizer beside its ``tokenizer.json``.

    Attributes:
        begin_id, end_id: begin and end a generated text.
        max_length: most ids of a text.
        special_ids: never in the ids of a text, left out when decoding, not to be generated (but the end).
        reserved: strings of tokens that a text cannot reach: the special ones, and added ones written as markup.
        prefix, suffix: ids that the tokenizer itself puts around a text ([CLS] and [SEP], for example).
    """

    begin_id: int
    end_id: int
    max_length: int | None
    special_ids: tuple[int, ...]
    reserved: tuple[str, ...]
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]


class PretrainedTokenizer(VocabularyAdapter):
    """Encodes with a copy of the tokenizer in which reserved tokens bear names that no text has; decodes with itself.

    Turning off the parsing of special tokens is not enough: the pieces of a unigram model, for example, include
    ``</s>``, and its search would find it in a text.
    """

    def __init__(self, text: str, settings: TokenizerSettings) -> None:
        self.text, self.settings = text, settings
        self.begin_id, self.end_id = settings.begin_id, settings.end_id
        self.special_ids = frozenset(settings.special_ids)
        self.prefix, self.suffix = settings.prefix, settings.suffix
        self._load()
        self.size = max(self._whole.get_vocab().values()) + 1

    def _load(self) -> None:
        self._whole = TokenizerFiles("tokenizer.json", self.text).tokenizer()
        document, unknown = _hidden(json.loads(self.text), self.settings.reserved)
        self._plain = Tokenizer.from_str(json.dumps(document))
        self._plain.encode_special_tokens = True
        unknown_id = self._plain.token_to_id(unknown) if unknown is not None else None
        self._refused = self.special_ids - {unknown_id}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_whole", "_plain", "_refused")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._load()

    def encode(self, raw: Any) -> list[int]:
        """Ids of a text, at most ``max_length``; never begin, end or another special id, except for the unknown.

        Raises:
            SampleError: not a text, or one with the noncharacters that hide special tokens.
        """
        ids = self._plain.encode(checked(raw), add_special_tokens=False).ids
        if not self._refused.isdisjoint(ids):
            raise SampleError("text has the noncharacters U+FDD0 and U+FDD1 around a number; remove them")
        return ids[: self.settings.max_length]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids; special ones are left out."""
        return str(self._whole.decode([i for i in ids if i not in self.special_ids], skip_special_tokens=False))

    def pieces(self) -> list[bytes | None]:
        """Bytes of the tokens; None of special ones.

        Raises:
            PluginError: the tokenizer does not write its tokens one after another, as WordPiece does not.
        """
        return [None if i in self.special_ids else one for i, one in enumerate(pieces_of(self._whole, self.size))]

    def example(self) -> tuple[str, Any]:
        """A sentence."""
        return EXAMPLE

    def save_assets(self, folder: Path) -> None:
        """Write ``tokenizer.json`` as it was read, and the settings."""
        (folder / "tokenizer.json").write_text(self.text, "utf-8")
        (folder / _SETTINGS).write_text(json.dumps(asdict(self.settings), ensure_ascii=False), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> "PretrainedTokenizer":
        """Read what ``save_assets`` wrote."""
        said = json.loads((folder / _SETTINGS).read_text("utf-8"))
        lists = {name: tuple(value) for name, value in said.items() if isinstance(value, list)}
        return cls((folder / "tokenizer.json").read_text("utf-8"), TokenizerSettings(**{**said, **lists}))

    @classmethod
    def of(
        cls, files: TokenizerFiles, max_length: int | None = None, begin: str | None = None, end: str | None = None
    ) -> "PretrainedTokenizer":
        """From files; ``begin`` and ``end`` are tokens to use instead of those that the files name.

        Raises:
            PluginError: no tokenizer, or no begin or end.
        """
        tokenizer = files.tokenizer()
        tokens = tokenizer.get_vocab()
        begin_id, end_id = begin_and_end(files, tokens, begin, end)
        document = json.loads(files.text)
        added = document.get("added_tokens") or []
        special = {token["content"] for token in added if token["special"]} | _named(files)
        ids = {tokens[token] for token in special if token in tokens} | {begin_id, end_id}
        reserved = special | {token["content"] for token in added if _MARKUP.fullmatch(token["content"])}
        reserved |= {token for token, number in tokens.items() if number in (begin_id, end_id)}
        prefix, suffix = _around(tokenizer)
        kept = tuple(sorted(reserved & tokens.keys()))
        settings = TokenizerSettings(begin_id, end_id, max_length, tuple(sorted(ids)), kept, prefix, suffix)
        return cls(files.text, settings)


def _named(files: TokenizerFiles) -> set[str]:
    """Special tokens that the settings name."""
    named = [content(value) for key, value in files.settings.items() if key.endswith("_token")]
    for key in ("additional_special_tokens", "extra_special_tokens"):
        value = files.settings.get(key) or []
        named += [content(token) for token in (value.values() if isinstance(value, dict) else value)]
    return {token for token in named if token}


def _around(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids that the tokenizer's own template puts before and after a text."""
    made = tokenizer.encode("a", add_special_tokens=True)
    own = [place for place, special in enumerate(made.special_tokens_mask) if not special]
    if not own:
        return (), ()
    return tuple(made.ids[: own[0]]), tuple(made.ids[own[-1] + 1 :])


def _hidden(document: dict[str, Any], reserved: Sequence[str]) -> tuple[dict[str, Any], str | None]:
    """The tokenizer with other names for reserved tokens, and the unknown token's name; ids stay what they are."""
    names = {token: f"\ufdd0{number}\ufdd1" for number, token in enumerate(reserved)}
    document.update(post_processor=None, truncation=None, padding=None)
    for token in document.get("added_tokens") or []:
        if token["content"] in names:
            token.update(content=names[token["content"]], special=True)
    model = document["model"]
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocabulary]
        unknown_id = model.get("unk_id")
        return document, None if unknown_id is None else model["vocab"][unknown_id][0]
    model["vocab"] = {names.get(token, token): number for token, number in vocabulary.items()}
    if "merges" in model:
        pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
        model["merges"] = [pair for pair in pairs if names.keys().isdisjoint((*pair, "".join(pair)))]
    unknown = model.get("unk_token")
    if unknown in names:
        model["unk_token"] = names[unknown]
    return document, model.get("unk_token")


def build(
    context: BuildContext,
    *,
    path: Path | None,
    hub: str | None,
    max_length: int | None,
    begin: str | None,
    end: str | None,
) -> PretrainedTokenizer:
    """The tokenizer of a file, a folder or the hub; of the assets where it was saved before."""
    if context.assets is not None:
        return PretrainedTokenizer.load(context.assets)
    return PretrainedTokenizer.of(read_files(path, hub), max_length, begin, end)
