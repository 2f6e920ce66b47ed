"""Explanations find what decides and nothing else, add up, and are those of the weights."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mmkit

pytest.importorskip("captum", reason="pip install 'mmkit[explain]'")
FILLERS = ["the", "a", "this", "one", "it", "was"]
SIDE, PATCH = 16, 4


def spec(task: dict[str, Any]) -> dict[str, Any]:
    return {
        "mmkit": 1,
        "modalities": {
            "image": {
                "encoder": {"use": "cnn", "image_size": SIDE, "in_channels": 1, "channels": [16, 32]},
                "adapter": "linear",
            },
            "text": {"adapter": {"use": "words", "vocab_size": 30}},
        },
        "backbone": {"use": "transformer", "dim": 32, "layers": 1, "heads": 2, "dropout": 0.0},
        "tasks": {"say": {"input": "{image} {text}", "output": "{label}", **task}},
        "train": {"stages": [{"name": "all", "steps": 150, "batch_size": 16, "lr": 3e-3}]},
    }


def rows(folder: Path, by: str) -> list[dict[str, Any]]:
    """A noisy picture with a bright patch in one of two corners, and words, one of two among them; ``by`` says which of them the label
    goes with."""
    chance, noise = random.Random(0), np.random.default_rng(0)
    found = []
    for number in range(96):
        corner, good = chance.random() < 0.5, chance.random() < 0.5
        pixels = noise.integers(0, 90, (SIDE, SIDE)).astype(np.uint8)
        place = slice(0, PATCH) if corner else slice(SIDE - PATCH, SIDE)
        pixels[place, place] = 255
        Image.fromarray(pixels).save(folder / f"{number}.png")
        words = [chance.choice(FILLERS) for _ in range(5)]
        words[chance.randrange(5)] = "good" if good else "bad"
        label = "yes" if (corner if by == "image" else good) else "no"
        found.append(
            {"image": str(folder / f"{number}.png"), "text": " ".join(words), "label": label, "corner": corner}
        )
    return found


@pytest.fixture(scope="module", params=["image", pytest.param("text", marks=pytest.mark.slow)])
def learnt(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Any, list[dict[str, Any]]]:
    """Which column decides, a model that has learnt it, and rows."""
    import json

    folder = tmp_path_factory.mktemp(request.param)
    given = rows(folder, request.param)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    head = {"head": {"use": "classify", "labels": ["no", "yes"]}}
    made = spec(head) | {"data": {"train": [{"task": "say", "path": str(folder / "rows.jsonl")}]}}
    model = mmkit.train(made, output=folder / "model", say=lambda line: None)
    answers = model.predict("say", given)
    right = np.mean([answer["label"] == row["label"] for answer, row in zip(answers, given, strict=True)])
    assert right > 0.95
    return request.param, model, given


def column(found: Any, name: str) -> Any:
    return next(one for one in found.columns if one.name == name)


def test_a_planted_cue_moves_its_column_and_no_other(learnt: Any) -> None:
    """What a column adds to "yes" goes with the cue in it where that decides, and hardly at all where it does not."""
    by, model, given = learnt
    other = "text" if by == "image" else "image"
    worth: dict[str, dict[bool, list[float]]] = {name: {True: [], False: []} for name in (by, other)}
    for row in given[:16]:
        found = mmkit.explain(model, "say", row, target="yes", steps=4)
        for name in (by, other):
            cue = row["corner"] if name == "image" else "good" in row["text"].split()
            worth[name][cue].append(column(found, name).shapley)
    moved = {name: abs(float(np.mean(both[True]) - np.mean(both[False]))) for name, both in worth.items()}
    assert moved[by] > 4 * moved[other], moved
    assert moved[by] > 3


def test_attributions_and_shapley_values_add_up(learnt: Any) -> None:
    _, model, given = learnt
    found = mmkit.explain(model, "say", given[0], steps=128)
    gain = found.score - found.baseline
    assert abs(found.error) < 0.05 * abs(gain)
    assert sum(one.attribution for one in found.columns) == pytest.approx(gain + found.error, abs=1e-3)
    assert sum(one.shapley for one in found.columns) == pytest.approx(gain, abs=1e-3)


def test_other_weights_give_another_map(learnt: Any) -> None:
    """Adebayo et al. 2018, Sanity checks for saliency maps."""
    _, model, given = learnt
    other = mmkit.build(model.plan.spec.model_dump(mode="json", exclude_unset=True), fit={"text": FILLERS}, seed=5)
    before = column(mmkit.explain(model, "say", given[0], target="yes"), "image").parts[0].attribution.flatten()
    after = column(mmkit.explain(other, "say", given[0], target="yes"), "image").parts[0].attribution.flatten()
    ranks = torch.stack([before.argsort().argsort(), after.argsort().argsort()]).double()
    assert abs(float(torch.corrcoef(ranks)[0, 1])) < 0.5
