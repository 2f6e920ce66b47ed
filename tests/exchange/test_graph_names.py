"""Names of inputs and files of exported graphs, whatever columns and tasks are called."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import mmkit
from mmkit.exchange.graph_export import export_graphs
from mmkit.exchange.graph_inputs import identifier

TEXTS = ["a fine film of ducks, and more", "a dull film"]


def made(tasks: dict[str, str]) -> mmkit.Model:
    """A classifier of texts for each template."""
    head, told = {"use": "classify", "labels": ["no", "yes"]}, {"text_length", "text", "class", "self"}
    named = {name: {column: "text" for column in told if f"{{{column}}}" in given} for name, given in tasks.items()}
    spec: dict[str, Any] = {
        "mmkit": 1,
        "modalities": {"text": {"adapter": {"use": "words", "vocab_size": 20}}},
        "backbone": {"use": "none", "dim": 8},
        "tasks": {
            name: {"input": given, "output": "{label}", "columns": named[name], "head": head}
            for name, given in tasks.items()
        },
    }
    return mmkit.build(spec, fit={"text": TEXTS}, seed=1).eval()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("text", "text"),
        ("pixels.values", "pixels_values"),
        ("class", "class_"),
        ("self", "self_"),
        ("1st", "_1st"),
        ("été", "été"),
    ],
)
def test_a_column_is_an_argument(text: str, name: str) -> None:
    assert identifier(text) == name


def test_columns_of_any_name_are_inputs_each_once(tmp_path: Path) -> None:
    """One that is called as another's length would be, one that is there twice, and names that Python does not take."""
    model = made({"kind": "{text} and {class} {self} {text_length} and {text}"})
    done, _ = export_graphs(model, tmp_path / "out", "torch")
    assert done[0].difference < 1e-4
    graph = json.loads((tmp_path / "out" / "signature.json").read_text("utf-8"))["graphs"][0]
    assert {one["column"]: one["name"] for one in graph["inputs"] if "column" in one} == {
        "text": "text", "class": "class_", "self": "self_", "text_length": "text_length_2"
    }  # fmt: skip
    row = {"text": "a film", "class": "of ducks", "self": "fine", "text_length": "more"}
    words, given = model.vocabularies["text"], {}
    for one in graph["inputs"]:
        if "column" in one:
            ids = words.encode(row[one["column"]])
            given |= {one["name"]: torch.tensor([ids]), f"{one['name']}_length": torch.tensor([len(ids)])}
    found = torch.export.load(tmp_path / "out" / "model.pt2").module()(**given)
    wanted = list(model.predict("kind", row)["probabilities"].values())
    torch.testing.assert_close(found["probabilities"][0], torch.tensor(wanted), atol=1e-5, rtol=0)


def test_tasks_of_any_name_are_files_each_its_own(tmp_path: Path) -> None:
    model = made({"a/b": "{text}", "a-b": "{text}", "A-B": "{text}"})
    done, _ = export_graphs(model, tmp_path / "out", "torch")
    assert {one.task: one.file for one in done} == {"a/b": "a-b.pt2", "a-b": "a-b-2.pt2", "A-B": "A-B-3.pt2"}
    assert {path.name for path in (tmp_path / "out").glob("*.pt2")} == {one.file for one in done}
