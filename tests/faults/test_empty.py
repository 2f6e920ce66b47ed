"""Nothing where something is expected: empty texts, no media, no rows, no batch – a defined result or a typed error."""

from pathlib import Path
from typing import Any

import pytest

import mmkit

SIZES = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 24, "vocab_size": 8}
T5 = {"model_type": "t5", "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2, "vocab_size": 8}
TRANSFORMER = {"use": "transformer", "dim": 16, "layers": 1, "heads": 2}
BACKBONES: dict[str, dict[str, Any]] = {
    "lstm": {"use": "lstm", "embedding_dim": 16, "hidden_dim": 16},
    "decoder": TRANSFORMER,
    "encoder-decoder": {**TRANSFORMER, "form": "encoder-decoder"},
    "causal-lm": {"use": "causal-lm", "config": {"model_type": "llama", **SIZES}},
    "seq2seq-lm": {"use": "seq2seq-lm", "config": T5},
    "none": {"use": "none", "dim": 16},
}
HEAD = {"use": "classify", "labels": ["x", "y"]}


def spec_of(backbone: str, write_rows: Any) -> dict[str, Any]:
    rows = [{"text": text, "label": "x", "out": out} for text, out in (("", ""), ("ab", ""), ("", "ba"), ("b", "a"))]
    path = str(write_rows(rows))
    tasks: dict[str, Any] = {"mood": {"input": "{text}", "output": "{label}", "head": HEAD}}
    if backbone != "none":
        tasks["say"] = {"input": "{text}", "output": "{out}", "head": {"use": "generate", "max_new_tokens": 3}}
    sources = [{"task": task, "path": path} for task in tasks]
    return {
        "mmkit": 1,
        "modalities": {"text": {"adapter": "characters"}},
        "backbone": BACKBONES[backbone],
        "tasks": tasks,
        "data": {"train": sources, "test": sources},
        "train": {"stages": [{"name": "all", "steps": 3, "batch_size": 3}]},
    }


@pytest.mark.parametrize("backbone", BACKBONES)
def test_an_empty_text_is_trained_on_evaluated_and_predicted(backbone: str, write_rows: Any, train: Any) -> None:
    model = train(spec_of(backbone, write_rows))
    results = mmkit.evaluate(model)
    assert all(len(result.predictions) == 4 for result in results.values())
    rows: list[dict[str, Any]] = [{"text": ""}, {"text": "ab"}, {"text": ""}]
    together = model.predict("mood", rows)
    assert together[0]["probabilities"] == pytest.approx(model.predict("mood", {"text": ""})["probabilities"], abs=1e-6)
    assert together[0] == together[2]
    if backbone != "none":
        for options in ({}, {"beams": 2}, {"temperature": 1.0}):
            said = model.predict("say", rows, **options)
            assert said == [model.predict("say", row, **options) for row in rows]
            assert said[0] == said[2]


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u200b", "\x00"])
@pytest.mark.parametrize("vocabulary", ["characters", "words", "bpe"])
def test_a_text_of_nothing_visible_has_a_defined_result(mood: dict[str, Any], vocabulary: str, text: str) -> None:
    mood["modalities"]["text"]["adapter"] = {"use": vocabulary}
    mood["data"] = None
    answer = mmkit.build(mood, fit={"text": ["a fine film"]}).predict("mood", {"text": text})
    assert answer["label"] in ("neg", "pos")


@pytest.mark.parametrize("use", ["lstm", "gru", "transformer"])
def test_a_text_encoder_of_an_empty_text_gives_no_rows_and_a_defined_answer(use: str) -> None:
    spec = {
        "mmkit": 1,
        "modalities": {"text": {"encoder": {"use": use, "vocabulary": {"use": "characters"}}}},
        "tasks": {"mood": {"input": "{text}", "output": "{label}", "head": HEAD}},
    }
    model = mmkit.build(spec, fit={"text": ["ab"]})
    alone = model.predict("mood", {"text": ""})
    assert model.predict("mood", [{"text": ""}, {"text": "ab"}])[0]["probabilities"] == pytest.approx(
        alone["probabilities"], abs=1e-6
    )


def test_a_pooled_text_without_tokens_is_a_typed_error() -> None:
    from mmkit_text.characters import Characters
    from mmkit_text.text_encoder import TextProcessor

    vocabulary = Characters(9, False, None)
    vocabulary.fit(["ab"])
    with pytest.raises(mmkit.SampleError) as caught:
        TextProcessor(vocabulary, pooled=True)("")
    assert str(caught.value) == "text '' has no tokens, so there is nothing to pool; leave such rows out"


def test_a_sample_without_media_needs_none_in_its_batch(mood: dict[str, Any], picture: Any, write_rows: Any, train: Any, tmp_path: Path) -> None:  # fmt: skip
    """An absent modality in a batch, at training too: whole batches without a picture, and a task that has none."""
    (tmp_path / "a.png").write_bytes(picture())
    mood["modalities"]["image"] = {"encoder": {"use": "cnn", "image_size": 8, "channels": [4]}, "adapter": "linear"}
    mood["tasks"]["see"] = {"input": "{image}{text}", "output": "{label}", "head": mood["tasks"]["mood"]["head"]}
    images = str(write_rows([{"image": "a.png", "text": "a", "label": "pos"}], "images.jsonl"))
    sources = [{**mood["data"]["train"][0], "weight": 20.0}, {"task": "see", "path": images}]
    mood["data"] = {"train": sources, "test": sources}
    mood["train"]["stages"] = [{"name": "all", "steps": 10, "batch_size": 2}]
    results = mmkit.evaluate(train(mood))
    assert (len(results["mood"].predictions), len(results["see"].predictions)) == (8, 1)


def test_a_template_of_text_alone_needs_no_column(mood: dict[str, Any]) -> None:
    mood["tasks"]["mood"]["input"] = "a fine film"
    mood["data"] = None
    model = mmkit.build(mood, fit={"text": ["a fine film"]})
    one, two = model.predict("mood", [{}, {"text": "ignored"}])
    assert one == two


def test_no_rows_give_no_predictions(mood: dict[str, Any]) -> None:
    model = mmkit.build(mood, fit={"text": ["a"]})
    assert model.predict("mood", []) == []
    assert model.predict("mood", ()) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", "", "{path} has no rows"),
        ("rows.jsonl", "\n\n", "{path} has no rows"),
        ("rows.csv", "text,label\n", "{path} has no rows"),
        ("rows.csv", "", "{path} has no rows"),
        ("rows.json", "[]", "{path} has no rows"),
    ],
)
@pytest.mark.parametrize("call", ["train", "evaluate"])
def test_an_empty_data_set_is_named(
    mood: dict[str, Any], tmp_path: Path, train: Any, name: str, content: str, message: str, call: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    mood["data"]["train" if call == "train" else "test"][0] |= {"path": str(path)}
    with pytest.raises(mmkit.DataError) as caught:
        train(mood) if call == "train" else mmkit.evaluate(mmkit.build(mood, fit={"text": ["a"]}))
    assert str(caught.value) == message.format(path=path)


@pytest.mark.parametrize("part", ["train", "test", "valid"])
def test_a_part_of_the_data_that_the_spec_does_not_name(mood: dict[str, Any], train: Any, part: str) -> None:
    mood["data"].pop(part, None)
    with pytest.raises(mmkit.DataError) as caught:
        train(mood) if part == "train" else mmkit.evaluate(mmkit.build(mood, fit={"text": ["a"]}), part)
    assert str(caught.value) == f"the spec names no data.{part}; add data: {{{part}: [{{task: …, path: …}}]}}"


def test_a_run_of_nothing_but_bad_rows_stops_where_the_spec_allows_none(
    mood: dict[str, Any], write_rows: Any, train: Any
) -> None:
    write_rows([{"text": "a", "label": "bad"}] * 3)
    mood["data"] |= {"on_bad_sample": "skip", "max_bad": 0.5}
    mood["train"]["stages"][0] |= {"batch_size": 3, "steps": 1}
    with pytest.raises(
        mmkit.DataError, match=r"^3 of 3 rows could not be used \(.*; more than data.max_bad = 50.0% allows$"
    ):
        train(mood)


def test_a_batch_of_nothing_but_bad_rows_trains_nothing_where_all_are_allowed(
    mood: dict[str, Any], write_rows: Any, train: Any
) -> None:
    write_rows([{"text": "a", "label": "bad"}] * 3 + [{"text": "a fine film", "label": "pos"}])
    mood["data"] |= {"on_bad_sample": "skip", "max_bad": 1.0}
    mood["train"]["stages"][0] |= {"batch_size": 1, "steps": 12}
    result = mmkit.evaluate(train(mood))["mood"]
    assert (len(result.predictions), result.metrics["bad_rows"]) == (1, 3)
