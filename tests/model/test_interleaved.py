"""Outputs of several parts: text with pictures and sounds in it, one sequence for one head."""

from collections.abc import Callable
from typing import Any

import pytest

import mmkit
from tests.model.support.codecs import CODE, PICTURES, ROWS, SOUNDS, learnt

STORIES = [{**row, "begin": f"a {row['text']} one"} for row in ROWS]


@pytest.fixture
def make(install: Callable[..., Any]) -> Callable[..., mmkit.Model]:
    """Draws within its sentence, and says the picture's sound."""
    install("codecs", CODE)

    def build(output: str = "{begin}: {picture} sounds {sound}", pattern: str = "flat") -> mmkit.Model:
        spec = {
            "mmkit": 1,
            "modalities": {
                "text": {"adapter": {"use": "characters"}},
                "picture": {"adapter": {"use": "tiles"}},
                "sound": {"adapter": {"use": "tones", "pattern": pattern}},
            },
            "backbone": {"use": "transformer", "dim": 48, "layers": 2, "heads": 2},
            "tasks": {
                "tell": {
                    "input": "tell {text}",
                    "output": output,
                    "columns": {"begin": "text"} if "begin" in output else {},
                    "head": {"use": "generate"},
                }
            },
        }
        return mmkit.build(spec, fit={"text": ["tell: sounds a one", *PICTURES]}, seed=0)

    return build


def test_text_with_a_picture_and_a_sound_in_it_is_learnt(make: Any) -> None:
    model = learnt(make(), ["tell"], 250, STORIES)
    wanted = [
        [{"text": f"a {name} one: "}, {"picture": PICTURES[name]}, {"text": " sounds "}, {"sound": SOUNDS[name]}]
        for name in PICTURES
    ]
    assert model.predict("tell", STORIES) == wanted
    assert model.predict("tell", STORIES[0]) == wanted[0]


def test_an_untrained_model_writes_whole_values_in_any_order(make: Any) -> None:
    model = make()
    for seed in range(8):
        for values in model.predict("tell", STORIES, temperature=2.0, seed=seed, max_new_tokens=400):
            for value in values:
                ((name, content),) = value.items()
                if name == "picture" and value is not values[-1]:
                    assert len(content) == 6
                if name == "sound":
                    assert len(content) <= 6


def test_what_is_written_comes_back(make: Any) -> None:
    model = make()
    vocabulary = model.vocabularies["tell.output"]
    ids = vocabulary.encode(STORIES[1])
    assert vocabulary.decode([vocabulary.begin_id, *ids, vocabulary.end_id]) == [
        {"text": "a blue one: "},
        {"picture": PICTURES["blue"]},
        {"text": " sounds "},
        {"sound": SOUNDS["blue"]},
    ]
    for place, id_ in enumerate([*ids, vocabulary.end_id]):
        assert any(id_ in some for some in vocabulary.allowed(ids[:place]))
    cut = ids.index(next(i for i in ids if i in vocabulary.begins)) + 3
    assert vocabulary.decode(ids[:cut]) == [{"text": "a blue one: "}, {"picture": PICTURES["blue"][:2]}]


def test_a_saved_model_writes_the_same(make: Any, tmp_path: Any) -> None:
    model = make()
    model.save(tmp_path / "model")
    assert mmkit.load(tmp_path / "model").predict("tell", STORIES) == model.predict("tell", STORIES)


def test_a_column_that_cannot_be_encoded_is_named(make: Any) -> None:
    with pytest.raises(mmkit.SampleError) as caught:
        make().preparer()("tell", {**STORIES[0], "sound": []})
    assert str(caught.value) == "column 'sound': the sound is empty"


def test_a_codec_with_several_ids_a_step_cannot_be_one_part_of_many(make: Any) -> None:
    with pytest.raises(mmkit.SpecError) as caught:
        make(pattern="delay")
    assert "tasks.tell.head: 'sound' writes 2 ids a step, and an output of several parts has one a step" in str(
        caught.value
    )
    assert "write 'sound' with pattern: flat" in str(caught.value)


def test_a_column_twice_is_refused(make: Any) -> None:
    with pytest.raises(mmkit.SpecError) as caught:
        make("{picture} {picture}")
    assert "tasks.tell.output: the output names a column twice: '{picture} {picture}'" in str(caught.value)


def test_an_output_of_several_parts_is_streamed_whole(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is in it is restored once, not at every step."""
    model, calls = make(), []
    codec = model.vocabularies["tell.output"].vocabularies["picture"]
    restore = codec.restore
    monkeypatch.setattr(codec, "restore", lambda codes: (calls.append(1), restore(codes))[1])
    (piece,) = model.stream("tell", STORIES[0], temperature=2.0, seed=1)
    drawn = sum("picture" in value for value in piece.value)
    assert len(calls) == drawn
    assert piece.last
    assert piece.value == model.predict("tell", STORIES[0], temperature=2.0, seed=1)


MIXED = [
    {
        "text": name,
        "story": [{"text": f"a {name} one "}, *([{"picture": PICTURES[name]}] * count), {"sound": SOUNDS[name]}],
    }
    for count, name in enumerate(PICTURES)
]


def mixed_spec(columns: Any, head: Any = "generate") -> dict[str, Any]:
    return {
        "mmkit": 1,
        "modalities": {
            "text": {"adapter": {"use": "characters"}},
            "picture": {"adapter": {"use": "tiles"}},
            "sound": {"adapter": {"use": "tones"}},
        },
        "backbone": {"use": "transformer", "dim": 48, "layers": 2, "heads": 2},
        "tasks": {"tell": {"input": "tell {text}", "output": "{story}", "columns": {"story": columns}, "head": head}},
    }


def test_an_output_has_as_many_pictures_as_its_row_says(install: Callable[..., Any], write_rows: Any) -> None:
    install("codecs", CODE)
    path = write_rows(MIXED)
    spec = mixed_spec(["text", "picture", "sound"]) | {
        "data": {"train": [{"task": "tell", "path": str(path)}]},
        "train": {"stages": [{"name": "all", "steps": 250, "batch_size": 3, "lr": 3e-3}]},
    }
    spec["tasks"]["tell"]["head"] = {"use": "generate", "max_new_tokens": 60}
    model = mmkit.train(spec, output=path.parent / "model", say=lambda line: None)
    assert model.predict("tell", MIXED) == [row["story"] for row in MIXED]
    assert mmkit.load(path.parent / "model").predict("tell", MIXED[2]) == MIXED[2]["story"]


@pytest.mark.parametrize(
    ("story", "message"),
    [
        ("a red one", "wanted is a list of parts such as {'text': …}, got str"),
        (
            [{"text": "a", "picture": [0] * 6}],
            "part 0: wanted is a list of parts such as {'text': …}, got 2 values in it",
        ),
        ([{"text": "a"}, {"pictur": []}], "part 1 is of modality 'pictur': did you mean 'picture'?"),
        ([{"text": "a"}, {"sound": []}], "the sound is empty"),
    ],
)
def test_parts_that_cannot_be_are_named(install: Callable[..., Any], story: Any, message: str) -> None:
    install("codecs", CODE)
    model = mmkit.build(mixed_spec(["text", "picture", "sound"]), fit={"text": ["a"]})
    with pytest.raises(mmkit.SampleError) as caught:
        model.preparer()("tell", {"text": "a", "story": story})
    assert str(caught.value) == f"column 'story': {message}"


def test_columns_of_several_modalities_that_cannot_be_are_named(install: Callable[..., Any], problems: Any) -> None:
    install("codecs", CODE)
    assert problems(mixed_spec(["text", "pictur"])) == [
        "tasks.tell.columns.story: unknown modality 'pictur': did you mean 'picture'?"
    ]
    spec = mixed_spec(["text", "pixels"], {"use": "classify", "labels": ["a", "b"]})
    spec["modalities"]["pixels"] = {"encoder": {"use": "cnn", "image_size": 8}}
    assert problems(spec) == [
        "tasks.tell.columns.story: column 'story' cannot be generated: 'pixels' is no vocabulary\n"
        "    fix: vocabularies: text, picture, sound",
        "tasks.tell.columns.story: column 'story' has several modalities, and head 'classify' writes one\n"
        "    fix: only a head that generates writes several",
    ]
    spec = mixed_spec(["text", "picture"])
    spec["tasks"]["tell"]["columns"] = {"text": ["text", "picture"], "story": "text"}
    assert problems(spec) == [
        "tasks.tell.columns.text: column 'text' of the input has several modalities, which only outputs have\n"
        "    fix: name one"
    ]
