"""Answers held to a JSON Schema, by a model that is not trained: what it says is noise, but it is always of the form."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import jsonschema
import pytest
import torch

import mmkit
from mmkit.errors import MmkitError, PluginError, SampleError
from mmkit.model import json_grammar
from mmkit.model.constrain import compiled, needed

SIGNS = '{"a": [1, 2.5, -3, true, false, null]} bcdefghijklmnopqrstuvwxyz_ 0123456789:T-+Z.@\\ ABCDEFG ü'
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["x", "yü", "a b"]}, "maxItems": 3},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
CODE = {"type": "string", "pattern": "^[A-F]{2}-[0-9]{3}$"}
SCHEMAS: list[dict[str, Any]] = [
    PERSON,
    CODE,
    {"type": "string", "format": "date"},
    {"type": "number", "minimum": 0.5, "exclusiveMaximum": 3},
    {"enum": [1, "b", None, {"a": [True]}]},
    {"type": "array", "prefixItems": [{"type": "boolean"}, {"type": "null"}], "items": False, "minItems": 2},
    {
        "anyOf": [
            {"const": "abc"},
            {"type": "object", "properties": {"b": PERSON["properties"]["age"]}, "required": ["b"]},
        ]
    },
    {
        "$defs": {
            "n": {
                "type": "object",
                "properties": {"v": {"enum": [1, 2]}, "n": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/n"}]}},
                "required": ["v", "n"],
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/n",
    },
]


def build(adapter: Any, **head: Any) -> mmkit.Model:
    torch.manual_seed(0)
    spec = {
        "mmkit": 1,
        "modalities": {"text": {"adapter": adapter}},
        "backbone": {"use": "transformer", "dim": 16, "layers": 1, "heads": 2},
        "tasks": {
            "say": {
                "input": "{q}",
                "output": "{a}",
                "columns": {"q": "text", "a": "text"},
                "head": {"use": "generate", "max_new_tokens": 400, **head},
            }
        },
    }
    return mmkit.build(spec, fit={"text": [SIGNS, "what is it"]}).eval()


@pytest.fixture(scope="module", params=["characters", "bpe"])
def model(request: pytest.FixtureRequest) -> mmkit.Model:
    return build({"characters": "characters", "bpe": {"use": "bpe", "vocab_size": 300}}[request.param])


def rows(count: int) -> list[dict[str, str]]:
    return [{"q": "what is it"[: 1 + place % 9]} for place in range(count)]


@pytest.mark.filterwarnings("ignore:task 'say'")
@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:40])
@pytest.mark.parametrize("drawn", [{}, {"temperature": 1.0, "seed": list(range(8))}, {"temperature": 2.0, "top_k": 3}])
def test_every_answer_is_json_of_the_schema(model: mmkit.Model, schema: dict[str, Any], drawn: dict[str, Any]) -> None:
    from mmkit.model.batch import pack
    from mmkit.model.generate import made_batch

    prepare = model.preparer()
    batch = pack([prepare("say", row, target=False) for row in rows(8)], {})
    made = made_batch(model, "say", batch, schema=schema, **drawn)
    whole = [one for one in made if one.whole]
    assert whole or "seed" not in drawn
    for one in whole:
        jsonschema.validate(json.loads(one.value), schema, format_checker=jsonschema.FormatChecker())


@pytest.mark.filterwarnings("ignore:task 'say'")
def test_rows_with_and_without_schemas_are_what_they_are_alone(model: mmkit.Model) -> None:
    schemas = [PERSON, None, CODE, None, PERSON, {"type": "integer", "maximum": 9, "minimum": 0}]
    given = {"temperature": 1.0, "max_new_tokens": 60}
    seeds = list(range(6))
    together = model.predict("say", rows(6), schema=schemas, seed=seeds, **given)
    for row, schema, seed, answer in zip(rows(6), schemas, seeds, together, strict=True):
        assert model.predict("say", row, seed=seed, **given, **({"schema": schema} if schema else {})) == answer
        if schema is CODE:
            jsonschema.validate(json.loads(answer), CODE)
    free = model.predict("say", rows(6), seed=seeds, **given)
    assert [free[1], free[3]] == [together[1], together[3]]
    assert free[0] != together[0]


def test_a_stream_is_held_too(model: mmkit.Model) -> None:
    pieces = list(model.stream("say", {"q": "what"}, schema=CODE, temperature=1.0, seed=3))
    text = "".join(piece.value for piece in pieces)
    assert len(pieces) > 3
    assert pieces[-1].whole
    assert text == model.predict("say", {"q": "what"}, schema=CODE, temperature=1.0, seed=3)
    jsonschema.validate(json.loads(text), CODE)


def test_guidance_and_a_schema_stand_together() -> None:
    model = build("characters", input_dropout=0.1)
    answers = model.predict("say", rows(3), schema=CODE, guidance=2.0, temperature=1.0, seed=[1, 2, 3])
    for answer in answers:
        jsonschema.validate(json.loads(answer), CODE)


def test_an_answer_that_is_cut_is_said_to_be(model: mmkit.Model) -> None:
    said = (
        "task 'say': 1 of 1 outputs reached max_new_tokens = 4 before they ended and hold what was there by then; raise "
        "max_new_tokens"
    )
    with pytest.warns(UserWarning, match="max_new_tokens = 4") as found:
        answer = model.predict("say", {"q": "what"}, schema={"type": "string", "minLength": 9}, max_new_tokens=4)
    assert [str(one.message) for one in found] == [said]
    assert answer.startswith('"')


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ([PERSON], "schema names 1 schemas for 2 samples; give one, or one (or None) a sample"),
        ("text", "answers cannot be held to this schema: a schema is a JSON object"),
        ({"x-guidance": {}}, "answers cannot be held to this schema: x-guidance is not taken"),
        ({"a": {1, 2}}, "answers cannot be held to this schema: it is no JSON (TypeError)"),
        ({"a": "x" * 70_000}, "answers cannot be held to this schema: it has 70009 bytes; at most 65536 are taken"),
        (
            {"type": "array", "uniqueItems": True},
            'answers cannot be held to this schema: Unimplemented keys: ["uniqueItems"]',
        ),
        (
            {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
            "answers cannot be held to this schema: it is too complex, or no value fits it",
        ),
    ],
)
def test_what_cannot_be_held_is_refused(model: mmkit.Model, schema: Any, said: str) -> None:
    with pytest.raises(MmkitError) as refused:
        model.predict("say", rows(2), schema=schema)
    assert str(refused.value) == said


def test_beams_and_a_schema_exclude_each_other(model: mmkit.Model) -> None:
    with pytest.raises(MmkitError) as refused:
        model.predict("say", rows(1), schema=CODE, beams=2)
    assert str(refused.value) == "beams > 1 and schema exclude each other; decode with beams: 1"


def test_a_vocabulary_that_does_not_say_what_it_spells_is_refused() -> None:
    with pytest.raises(MmkitError) as refused:
        build({"use": "words", "vocab_size": 60}).predict("say", rows(1), schema=CODE)
    assert str(refused.value) == (
        "answers of modality 'text' cannot be held to a schema: Words does not say what its ids spell, by a method "
        "pieces(); fix: a vocabulary that does, such as bpe, characters or tokenizer"
    )


def test_characters_that_the_vocabulary_does_not_have_are_named() -> None:
    with pytest.raises(MmkitError) as refused:
        build("characters").predict("say", rows(1), schema={"type": "object", "properties": {"KÖ": {"const": "H"}}})
    assert str(refused.value) == (
        "answers cannot be held to this schema: the vocabulary of modality 'text' has no way to write H K Ö, which its "
        "JSON needs"
    )


@pytest.mark.parametrize(
    ("schema", "signs"),
    [
        ({"type": "integer", "enum": [1, 20]}, "012"),
        ({"type": ["string", "null"], "const": "ab"}, '"ab'),
        ({"type": "boolean"}, "aeflrstu"),
    ],
)
def test_constants_need_no_characters_but_their_own(schema: Any, signs: str) -> None:
    assert "".join(sorted(set("".join(needed(schema))))) == signs


def test_a_pattern_that_the_vocabulary_cannot_follow_ends_the_answer() -> None:
    with pytest.raises(SampleError) as refused:
        build("characters").predict("say", rows(1), schema={"type": "string", "pattern": "^abXYZ$"})
    assert str(refused.value) == (
        "the answer cannot go on under its schema: nothing that the vocabulary can write may follow there"
    )


def test_without_llguidance_the_extra_is_named(model: mmkit.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MmkitError) as refused:
        model.predict("say", rows(1), schema=CODE)
    assert str(refused.value) == (
        "schema needs llguidance, which is not installed; fix: pip install 'mmkit[constrain]', or leave out schema"
    )


def test_pieces_of_another_number_are_a_fault_of_the_plugin() -> None:
    class Short(mmkit.VocabularyAdapter):
        size, begin_id, end_id = 5, 0, 1

        def encode(self, raw: Any) -> list[int]:
            return []

        def decode(self, ids: Sequence[int]) -> str:
            return ""

        def pieces(self) -> list[bytes | None]:
            return [None, None, b"a"]

    with pytest.raises(PluginError) as refused:
        compiled(Short(), "text", CODE)
    assert str(refused.value) == "Short.pieces() has 3 pieces for 5 ids"


def test_names_of_properties_are_no_keywords() -> None:
    assert set(needed({"type": "object", "properties": {"type": {"type": "null"}, "enum": {}}})) == set(
        '{}":,typenumnull'
    )
    assert set(needed({"default": {"type": "array"}})) == set()


def test_the_trial_says_why_and_nothing_of_what_is_sound() -> None:
    from mmkit.serve.held import tried

    tried(json_grammar.written(PERSON))
    with pytest.raises(json_grammar.Unusable) as refused:
        tried(json_grammar.written({"type": "string", "pattern": "["}))
    assert str(refused.value) == "regex parse error: [ ^ error: unclosed character class"
