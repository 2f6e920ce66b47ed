"""One row → one sample: parts in the order of the template, targets, references, and what is missing."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit
from mmkit.model.batch import Ids, Media
from mmkit.model.prepare import Preparer


@pytest.fixture
def preparer(mood: dict[str, Any]) -> Preparer:
    mood["modalities"] = {
        "text": {"adapter": {"use": "characters"}},
        "image": {"encoder": {"use": "cnn", "image_size": 8, "channels": [4]}, "adapter": "linear"},
        "audio": {"encoder": {"use": "log-mel", "n_mels": 8}, "adapter": {"use": "stack", "factor": 4}},
    }
    mood["tasks"]["mood"] |= {"input": "ab{image}c{text}{image} {audio}"}
    mood["tasks"]["say"] = {"input": "{text}", "output": "{other}", "head": "generate"}
    mood["data"] = None
    return mmkit.build(mood, fit={"text": ["abcdef"]}).preparer()


@pytest.fixture
def row(picture: Callable[..., bytes], sound: Callable[..., bytes]) -> dict[str, Any]:
    return {"image": picture(), "audio": sound(seconds=0.2), "text": "fed", "other": "ab", "label": "pos"}


def test_parts_come_in_the_order_of_the_template(preparer: Preparer, row: dict[str, Any]) -> None:
    sample = preparer("mood", row, address="rows.jsonl:7")
    a = preparer.offsets["text"] + 3
    assert [part.ids if isinstance(part, Ids) else part.modality for part in sample.parts] == [
        (a, a + 1),
        "image",
        (a + 2,),
        (a + 5, a + 4, a + 3),
        "image",
        "audio",
    ]
    media = [part for part in sample.parts if isinstance(part, Media)]
    assert [(part.features, part.tokens) for part in media] == [(16, 16), (16, 16), (20, 5)]
    assert (sample.task, sample.reference, sample.address) == ("mood", "pos", "rows.jsonl:7")
    assert sample.target is not None
    assert sample.target.tolist() == [1]


def test_prediction_needs_no_target_but_keeps_a_reference(preparer: Preparer, row: dict[str, Any]) -> None:
    sample = preparer("say", row, target=False)
    assert (sample.target, sample.reference) == (None, "ab")
    sample = preparer("say", {"text": "abc"}, target=False)
    assert (sample.target, sample.reference) == (None, None)
    with pytest.raises(mmkit.SampleError, match="^there is no column 'other'; the row has: text$"):
        preparer("say", {"text": "abc"})


def test_every_missing_or_empty_column_is_named(preparer: Preparer, row: dict[str, Any]) -> None:
    for column in ("image", "text", "audio", "label"):
        with pytest.raises(mmkit.SampleError, match=f"^column '{column}' is empty$"):
            preparer("mood", {**row, column: None})
        rest = {name: value for name, value in row.items() if name != column}
        with pytest.raises(mmkit.SampleError, match=f"^there is no column '{column}'; the row has: {', '.join(rest)}$"):
            preparer("mood", rest)


def test_it_travels_to_a_worker_without_losing_anything(preparer: Preparer, row: dict[str, Any]) -> None:
    again = pickle.loads(pickle.dumps(preparer))
    for task in ("mood", "say"):
        here, there = preparer(task, row), again(task, row)
        assert here.target is not None
        assert there.target is not None
        assert here.target.tolist() == there.target.tolist()
        for one, other in zip(here.parts, there.parts, strict=True):
            assert isinstance(one, Ids) == isinstance(other, Ids)
            if isinstance(one, Media) and isinstance(other, Media):
                assert all(one.item[name].equal(other.item[name]) for name in one.item)


@pytest.fixture
def rebuilding(picture: Callable[..., bytes], tmp_path: Path) -> Preparer:
    """Pictures to pictures and to labels, in a data folder with ``a.png``."""
    fsq = {"use": "fsq-image", "image_size": 8, "channels": [4]}
    head = {"use": "rebuild-image", "channels": [4]}
    spec = {
        "mmkit": 1,
        "modalities": {"image": {"encoder": fsq}},
        "tasks": {
            "rebuild": {"input": "{image}", "output": "{image}", "head": head},
            "mend": {"input": "{image}", "output": "{whole}", "columns": {"whole": "image"}, "head": head},
            "name": {"input": "{image}", "output": "{label}", "head": {"use": "classify", "labels": ["a.png", "b"]}},
        },
    }
    (tmp_path / "a.png").write_bytes(picture())
    return mmkit.build(spec).preparer(tmp_path)


@pytest.mark.parametrize(("task", "column"), [("rebuild", "image"), ("mend", "whole")])
def test_output_of_an_encoded_modality_is_a_file_of_the_data_folder(
    rebuilding: Preparer, tmp_path: Path, task: str, column: str
) -> None:
    sample = rebuilding(task, {"image": "a.png", "whole": "a.png"})
    assert sample.reference == tmp_path / "a.png"
    assert sample.target is not None
    assert sample.target.shape == (3 * 8 * 8,)
    (media,) = sample.parts
    assert isinstance(media, Media)
    assert sample.target.equal(media.item["pixels"].flatten())
    message = (
        rf"^column '{column}': '\.\./b\.png' leaves the data folder .*; put the file inside it, or set data\.root$"
    )
    with pytest.raises(mmkit.SampleError, match=message):
        rebuilding(task, {"image": "a.png", "whole": "a.png", column: "../b.png"})


def test_label_is_never_a_file(rebuilding: Preparer) -> None:
    assert rebuilding("name", {"image": "a.png", "label": "a.png"}).reference == "a.png"


def test_the_root_of_files_may_be_a_string(mood: dict[str, Any], picture: Callable[..., bytes], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    mood["modalities"]["image"] = {"encoder": {"use": "cnn", "image_size": 8, "channels": [4]}, "adapter": "linear"}
    mood["tasks"]["mood"]["input"] = "{image}"
    mood["data"] = None
    model = mmkit.build(mood, fit={"text": ["abcdef"]})
    rows = [model.predict("mood", {"image": "a.png"}, root=root) for root in (tmp_path, str(tmp_path))]
    assert rows[0] == rows[1]
