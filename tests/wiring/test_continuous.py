"""Modalities of vectors: where a spec may name them, what is wired, what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit
from mmkit.discovery import discover
from mmkit.wiring.draw import graph, to_mermaid
from mmkit.wiring.planner import plan

Problems = Callable[..., list[str]]


@pytest.fixture
def spec() -> dict[str, Any]:
    return {
        "mmkit": 1,
        "modalities": {
            "text": {"adapter": "characters"},
            "image": {"adapter": {"use": "image-patches", "image_size": 8}},
        },
        "backbone": {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8},
        "tasks": {"draw": {"input": "Draw {text}", "output": "{image}", "head": {"use": "flow", "dim": 16}}},
    }


def test_the_head_is_given_the_adapter_of_its_output(spec: dict[str, Any]) -> None:
    model = mmkit.build(spec, fit={"text": ["a"]})
    assert model.parts.heads["draw"].continuous is model.parts.continuous["image"]  # type: ignore[attr-defined]
    assert model.plan.tasks["draw"].output_modality == "image"
    assert list(model.vocabularies) == ["text"]


@pytest.mark.parametrize("changes", [{"output": "{picture}"}, {"output": "{x}", "columns": {"x": "image"}}])
def test_a_column_of_another_name_is_of_the_only_modality_of_vectors(
    spec: dict[str, Any], changes: dict[str, Any]
) -> None:
    spec["tasks"]["draw"] |= changes
    assert plan(spec, discover()).tasks["draw"].output_modality == "image"


def test_columns_of_words_stay_of_the_only_vocabulary(spec: dict[str, Any]) -> None:
    spec["tasks"]["draw"]["input"] = "{title}"
    assert plan(spec, discover()).tasks["draw"].modality_of == {"title": "text"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"output": "{text}"},
            "tasks.draw.output: column 'text' cannot be written by head 'flow': it is not of a modality of vectors\n"
            "    fix: modalities of vectors: image",
        ),
        ({"output": None}, "tasks.draw: head 'flow' needs an output\n    fix: add output: \"{column}\""),
        (
            {"head": "generate"},
            "tasks.draw.output: column 'image' cannot be spelt by head 'generate': it is not of a vocabulary modality\n"
            "    fix: vocabularies: text",
        ),
        (
            {"input": "{image}"},
            "tasks.draw.input: column 'image' is of modality 'image', which is written as vectors and cannot be read\n"
            "    fix: give it another modality, one with an encoder: columns: {image: …}",
        ),
        (
            {"reads": "image"},
            "tasks.draw.reads[0]: there is no node 'image': allowed: backbone",
        ),
    ],
)
def test_a_task_that_cannot_be_is_named(
    spec: dict[str, Any], problems: Problems, changes: dict[str, Any], expected: str
) -> None:
    spec["tasks"]["draw"] |= changes
    assert problems(spec, static=True) == [expected]


def test_an_unknown_name_is_said_to_be_neither(spec: dict[str, Any], problems: Problems) -> None:
    spec["modalities"]["image"]["adapter"] = {"use": "image-patch"}
    assert problems(spec, static=True)[0] == (
        "modalities.image.adapter.use: unknown vocabulary or continuous adapter 'image-patch': did you mean "
        "'image-patches'?\n    fix: see `mmkit components`"
    )
    spec["modalities"]["image"]["adapter"] = "linear"
    assert problems(spec, static=True)[0] == (
        "modalities.image.adapter.use: 'linear' is an adapter, wanted here: vocabulary or continuous adapter\n"
        "    fix: see `mmkit components`"
    )


def test_a_template_needs_a_vocabulary_beside_it(spec: dict[str, Any], problems: Problems) -> None:
    spec["modalities"]["text"] = {"encoder": {"use": "gru", "vocabulary": {"use": "characters"}}, "adapter": "linear"}
    assert problems(spec, static=True) == [
        "tasks.draw.input: the template has text of its own, but no modality of the spec is a vocabulary\n"
        "    fix: add a modality such as text: {adapter: {use: bpe}}, or leave only {columns}"
    ]


def test_a_file_of_the_output_stays_inside_the_data_folder(
    spec: dict[str, Any], picture: Callable[..., bytes], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    for place in ("data/in.png", "out.png"):
        (tmp_path / place).write_bytes(picture())
    prepare = mmkit.build(spec, fit={"text": ["Draw a"]}).preparer(tmp_path / "data")
    target = prepare("draw", {"text": "a", "image": "in.png"}).target
    assert target is not None
    assert tuple(target.shape) == (8 * 8 * 3,)
    with pytest.raises(mmkit.SampleError) as error:
        prepare("draw", {"text": "a", "image": "../out.png"})
    assert str(error.value) == (
        f"column 'image': '../out.png' leaves the data folder {tmp_path / 'data'}; put the file inside it, or set data.root"
    )


def test_the_picture_of_the_graph_shows_who_writes(spec: dict[str, Any]) -> None:
    planned = plan(spec, discover())
    assert [(a.source, a.target) for a in graph(planned).arrows if a.spells] == [("image.adapter", "draw.head")]
    assert "image.adapter<br/><i>image-patches</i>" in to_mermaid(planned)
    assert ":::continuous" in to_mermaid(planned)
