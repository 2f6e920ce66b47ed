"""Answers held to a JSON Schema: which ids may follow, row by row, beside a vocabulary's own grammar."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmkit.errors import MmkitError, PluginError, SampleError
from mmkit.interfaces import Grammar, HasPieces, VocabularyAdapter
from mmkit.model import json_grammar

_DIGITS = "0123456789-"
_OF_TYPE = {
    "object": '{}":,',
    "array": "[],",
    "string": '"',
    "integer": _DIGITS,
    "number": _DIGITS + ".",
    "boolean": "truefalse",
    "null": "null",
}


_NAMED = ("$defs", "definitions", "patternProperties", "dependentSchemas")


class Rule:
    """What may follow in one row. Ids are taken in turn."""

    def __init__(self, matcher: Any, silent: Bool[Tensor, " size"]) -> None:
        self.matcher, self.silent = matcher, silent

    def forbidden(self) -> Bool[Tensor, " size"]:
        """True for ids that may not be next; never all of them.

        Raises:
            SampleError: the schema became too complex, or nothing that the vocabulary can write may follow.
        """
        allowed = torch.frombuffer(bytearray(self.matcher.compute_logit_bias()), dtype=torch.uint8)
        mask = (allowed[: len(self.silent)] == 0) | self.silent
        if self.matcher.is_error() or bool(mask.all()):
            why = json_grammar.reason(self.matcher.get_error() or "NoExtension")
            if why.startswith("NoExtension"):
                why = "nothing that the vocabulary can write may follow there"
            raise SampleError(f"the answer cannot go on under its schema: {why}")
        return mask

    def take(self, id_: int) -> None:
        """The id that was chosen, one that was allowed."""
        self.matcher.consume_token(id_)

    @property
    def ended(self) -> bool:
        """Whether nothing but the end may follow."""
        return bool(self.matcher.is_stopped())


def held(logits: Float[Tensor, "items size"], rules: Sequence[Rule | None]) -> Float[Tensor, "items size"]:
    """Minus infinity for ids that may not be next in rows that have a rule; the other rows as they are.

    Raises:
        SampleError: as ``Rule.forbidden``.
    """
    if not any(rules):
        return logits
    nothing = torch.zeros(logits.shape[1], dtype=torch.bool)
    masks = torch.stack([nothing if rule is None else rule.forbidden() for rule in rules])
    return logits.masked_fill(masks.to(logits.device), float("-inf"))


class Schema:
    """A JSON Schema, compiled for one vocabulary."""

    def __init__(self, text: str, matcher: Any, silent: Bool[Tensor, " size"]) -> None:
        self.text, self.matcher, self.silent = text, matcher, silent

    def rule(self) -> Rule:
        """For one row, from its beginning."""
        return Rule(self.matcher.deep_copy(), self.silent)


class _Spelling:
    """A vocabulary as llguidance reads it."""

    def __init__(self, vocabulary: HasPieces, size: int, end: int) -> None:
        pieces = list(vocabulary.pieces())
        if len(pieces) != size:
            raise PluginError(f"{type(vocabulary).__name__}.pieces() has {len(pieces)} pieces for {size} ids")
        self.tokenizer = json_grammar.tokenizer(pieces, end)
        self.silent = torch.tensor([not piece for piece in pieces])
        self.silent[end] = False
        self.known = {piece for piece in pieces if piece}

    def missing(self, characters: set[str]) -> list[str]:
        """Those that no pieces write: neither one of the character, nor one for each of its bytes."""
        return [
            sign
            for sign in sorted(characters)
            if (own := sign.encode("utf-8", "surrogatepass")) not in self.known
            and not all(bytes([byte]) in self.known for byte in own)
        ]


_SPELLINGS: "WeakKeyDictionary[VocabularyAdapter, _Spelling]" = WeakKeyDictionary()


def compiled(vocabulary: VocabularyAdapter, name: str, schema: Any) -> Schema:
    """A schema, a mapping, for a vocabulary; one that is compiled already as it is.

    Args:
        name: of the vocabulary's modality, for messages.

    Raises:
        MmkitError: llguidance is not installed, the vocabulary cannot write JSON, or answers cannot be held to the schema.
    """
    if isinstance(schema, Schema):
        return schema
    check_able(vocabulary, name)
    spelling = _SPELLINGS.get(vocabulary)
    if spelling is None:
        assert isinstance(vocabulary, HasPieces)
        spelling = _SPELLINGS[vocabulary] = _Spelling(vocabulary, vocabulary.size, vocabulary.end_id)
    try:
        text = json_grammar.written(schema)
        missing = spelling.missing(set(needed(schema)))
        if missing:
            raise json_grammar.Unusable(
                f"the vocabulary of modality {name!r} has no way to write {' '.join(missing)}, which its JSON needs"
            )
        made = Schema(text, json_grammar.matcher(spelling.tokenizer, text), spelling.silent)
        made.rule().forbidden()
    except json_grammar.Unusable as error:
        raise MmkitError(f"answers cannot be held to this schema: {error}") from None
    except SampleError:
        raise MmkitError("answers cannot be held to this schema: it is too complex, or no value fits it") from None
    return made


def check_able(vocabulary: VocabularyAdapter, name: str) -> None:
    """Refuse a vocabulary that cannot be held to a schema.

    Raises:
        MmkitError: it says not what its ids spell, or llguidance is not installed.
    """
    try:
        import llguidance  # noqa: F401
    except ImportError:
        raise MmkitError(
            "schema needs llguidance, which is not installed; fix: pip install 'mmkit[constrain]', or leave out schema"
        ) from None
    if isinstance(vocabulary, Grammar) or not isinstance(vocabulary, HasPieces):
        who = type(vocabulary).__name__
        raise MmkitError(
            f"answers of modality {name!r} cannot be held to a schema: {who} does not say what its ids spell, by a method "
            "pieces(); fix: a vocabulary that does, such as bpe, characters or tokenizer"
        )


def rules_of(vocabulary: VocabularyAdapter, name: str, given: Any, count: int) -> list[Rule | None]:
    """The rule of every row: one schema for all, or a list of one, or None, for each. Nothing where none is asked for.

    Raises:
        MmkitError: as ``compiled``, or a list of another length.
    """
    if given is None:
        return []
    each = list(given) if isinstance(given, list | tuple) else [given] * count
    if len(each) != count:
        raise MmkitError(f"schema names {len(each)} schemas for {count} samples; give one, or one (or None) a sample")
    made: dict[int, Schema] = {}
    for one in each:
        if one is not None and id(one) not in made:
            made[id(one)] = compiled(vocabulary, name, one)
    return [None if one is None else made[id(one)].rule() for one in each]


def needed(schema: Any) -> Iterator[str]:
    """Characters that every vocabulary must have for values of a schema: its punctuation, its digits and literals, and the names and
    constants that it says; where it has constants, the type is theirs. What its strings may hold beside that, and its patterns,
    is seen only while an answer is written."""
    if isinstance(schema, list | tuple):
        for one in schema:
            yield from needed(one)
    if not isinstance(schema, Mapping):
        return
    kinds = None if "enum" in schema or "const" in schema else schema.get("type")
    for kind in [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []:
        yield from _OF_TYPE.get(str(kind), "")
    for key, value in schema.items():
        if key == "properties" and isinstance(value, Mapping):
            for name in value:
                yield from _quoted(name)
            yield from needed(list(value.values()))
        elif key in ("const", "enum"):
            for one in value if key == "enum" and isinstance(value, list) else [value]:
                yield from _quoted(one)
        elif key == "required" and isinstance(value, list):
            for name in value:
                yield from _quoted(name)
        elif key not in ("default", "examples"):
            named = key in _NAMED and isinstance(value, Mapping)
            yield from needed(list(value.values()) if named else value)


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
