"""The model as a module: nodes and their names, modes, and predict."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import mmkit


def test_nodes_have_the_names_that_globs_use(mood: dict[str, Any]) -> None:
    mood["modalities"]["image"] = {"encoder": {"use": "cnn", "image_size": 8, "channels": [4]}, "adapter": "linear"}
    model = mmkit.build(mood, fit={"text": ["a"]})
    assert list(model.nodes()) == ["image.encoder", "image.adapter", "backbone", "mood.head"]


@pytest.mark.parametrize("name", ["type", "float", "training", "forward", "items", "keys", "train", "a/b", "x y", "1"])
def test_a_name_may_be_one_that_torch_uses(mood: dict[str, Any], name: str, tmp_path: Any) -> None:
    mood["tasks"][name] = mood["tasks"].pop("mood")
    mood["data"] = None
    if name.isidentifier():
        mood["modalities"][name] = {"encoder": {"use": "cnn", "image_size": 8, "channels": [4]}, "adapter": "linear"}
        mood["nodes"] = {"half": {"backbone": mood["backbone"], "reads": [{"node": "backbone"}]}}
    model = mmkit.build(mood, fit={"text": ["a"]})
    assert f"{name}.head" in model.nodes()
    assert sum(p.numel() for p in model.parameters()) == sum(
        p.numel() for node in model.nodes().values() for p in node.parameters()
    )
    again = mmkit.load(model.save(tmp_path / "model"))
    assert again.predict(name, {"text": "a"}) == model.predict(name, {"text": "a"})


@pytest.mark.parametrize(
    ("place", "name", "message"),
    [
        ("tasks", "a.b", "tasks.a.b: the name 'a.b' is empty or has a dot\n    fix: choose another name"),
        ("tasks", "", "tasks.: the name '' is empty or has a dot\n    fix: choose another name"),
        ("nodes", "a.b", "nodes.a.b: the name 'a.b' is empty, taken or has a dot\n    fix: choose another name"),
        ("nodes", "text", "nodes.text: the name 'text' is empty, taken or has a dot\n    fix: choose another name"),
        ("modalities", "a b", "modalities.a b: 'a b' is not a plain name\n    fix: use letters, digits and _"),
    ],
)
def test_a_name_that_cannot_be_is_refused(
    mood: dict[str, Any], problems: Callable[..., list[str]], place: str, name: str, message: str
) -> None:
    mood["data"] = None
    new: dict[str, Any] = {
        "tasks": mood["tasks"]["mood"],
        "nodes": {"backbone": mood["backbone"], "reads": [{"node": "backbone"}]},
        "modalities": {"encoder": {"use": "cnn"}},
    }
    mood.setdefault(place, {})[name] = new[place]
    assert problems(mood) == [message]


def test_predict_takes_one_row_or_many_and_leaves_the_mode(mood: dict[str, Any]) -> None:
    mood["tasks"]["mood"]["head"]["dropout"] = 0.5
    model = mmkit.build(mood, fit={"text": ["a b c"]}).train()
    rows = [{"text": "a"}, {"text": "b c"}]
    together = model.predict("mood", rows)
    assert model.training
    assert together == model.predict("mood", rows)
    assert [model.predict("mood", row) for row in rows] == [
        {"label": one["label"], "probabilities": pytest.approx(one["probabilities"], abs=1e-6)} for one in together
    ]
    assert model.predict("mood", []) == []
    assert model.predict("mood", ({"text": "a"},)) == model.predict("mood", rows[:1])


def test_what_predict_cannot_use_is_named(mood: dict[str, Any]) -> None:
    model = mmkit.build(mood, fit={"text": ["a"]})

    def message(*arguments: Any, **options: Any) -> str:
        with pytest.raises(mmkit.MmkitError) as caught:
            model.predict(*arguments, **options)
        return f"{type(caught.value).__name__}: {caught.value}"

    assert message("moood", {"text": "a"}) == "MmkitError: there is no task 'moood': did you mean 'mood'?"
    assert message("mood", {"text": 3}) == "SampleError: column 'text': text must be a str, got int"
    assert message("mood", {"txt": "a"}) == "SampleError: there is no column 'text'; the row has: txt"
    assert message("mood", {}) == "SampleError: there is no column 'text'; the row has: "
    assert message("mood", {"text": None}) == "SampleError: column 'text' is empty"
    assert message("mood", {"text": "a"}, beams=3) == "MmkitError: task 'mood' takes no options, got: beams"


def test_the_seed_decides_the_fresh_weights_and_leaves_the_callers_generator_alone(mood: dict[str, Any]) -> None:
    def weights(**options: Any) -> torch.Tensor:
        model = mmkit.build(mood, fit={"text": ["a"]}, **options)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    state = torch.random.get_rng_state()
    first = weights()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, weights(seed=0))
    assert not torch.equal(first, weights(seed=1))
    mood["train"]["seed"] = 1
    assert torch.equal(weights(), weights(seed=1))
    assert weights(dtype=torch.bfloat16).dtype == torch.bfloat16
