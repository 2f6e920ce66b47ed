"""What a run changes and what it leaves: globs, frozen nodes, accumulation over mixed tasks, bf16, seeds."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mmkit

Train = Callable[..., mmkit.Model]


@pytest.fixture
def spec(write_rows: Callable[..., Path], picture: Any, sound: Any, tmp_path: Path) -> dict[str, Any]:
    """Four tasks over three modalities and three kinds of head, from sources that lack some of them."""
    for seed in range(4):
        (tmp_path / f"{seed}.png").write_bytes(picture(seed))
        (tmp_path / f"{seed}.wav").write_bytes(sound(seed, seconds=0.15 + 0.05 * seed))
    rows = [
        {"image": f"{n}.png", "audio": f"{n}.wav", "text": "abcd"[: n + 1], "label": "xy"[n % 2], "size": 0.5 * n}
        for n in range(4)
    ]
    path = str(write_rows(rows))
    return {
        "mmkit": 1,
        "modalities": {
            "image": {"encoder": {"use": "cnn", "image_size": 8, "channels": [4, 6]}, "adapter": "linear"},
            "audio": {"encoder": {"use": "log-mel", "n_mels": 8, "hop_ms": 20}, "adapter": {"use": "stack"}},
            "text": {"adapter": "characters"},
        },
        "backbone": {"use": "transformer", "dim": 12, "layers": 1, "heads": 2, "dropout": 0.0},
        "tasks": {
            "say": {"input": "{image}{text}", "output": "{text}", "head": "generate", "weight": 0.5},
            "mood": {"input": "{text}", "output": "{label}", "head": {"use": "classify", "labels": ["x", "y"]}},
            "grow": {"input": "{audio}{text}", "output": "{size}", "head": {"use": "regress"}},
            "hear": {
                "input": "{audio}",
                "output": "{text}",
                "reads": "audio",
                "head": {"use": "ctc", "zero_infinity": True},
            },
        },
        "data": {"train": [{"task": task, "path": path} for task in ("say", "mood", "grow", "hear")]},
        "train": {"stages": [{"name": "all", "steps": 2, "batch_size": 8, "lr": 0.01, "warmup": 0.0}]},
    }


def fresh(spec: dict[str, Any]) -> mmkit.Model:
    return mmkit.build(spec, fit={"text": ["abcd"]})


def changed(spec: dict[str, Any], model: mmkit.Model) -> set[str]:
    """Names of what training moved, as globs see them."""
    before, after = fresh(spec), model
    moved = set()
    for node, module in after.nodes().items():
        old = before.nodes()[node].state_dict()
        moved |= {f"{node}.{name}" for name, value in module.state_dict().items() if not torch.equal(value, old[name])}
    return moved


@pytest.mark.parametrize(
    ("globs", "prefixes"),
    [
        (["*.adapter"], ("image.adapter.", "audio.adapter.")),
        (["image.*"], ("image.encoder.", "image.adapter.")),
        ("backbone", ("backbone.",)),
        (["*.head"], ("mood.head.", "grow.head.", "hear.head.")),
        (["backbone.table", "mood.head.output.bias"], ("backbone.table.", "mood.head.output.bias")),
    ],
    ids=str,
)
def test_only_what_a_glob_names_is_trained(spec: dict[str, Any], train: Train, globs: Any, prefixes: Any) -> None:
    spec["train"]["stages"][0] |= {"train": globs, "steps": 3}
    moved = changed(spec, train(spec))
    assert all(name.startswith(prefixes) for name in moved)
    assert all(any(name.startswith(prefix) for name in moved) for prefix in prefixes)


def test_without_globs_everything_is_trained(spec: dict[str, Any], train: Train) -> None:
    spec["train"]["stages"][0] |= {"steps": 4, "batch_size": 16}
    model = train(spec)
    names = {f"{node}.{name}" for node, module in model.nodes().items() for name, _ in module.named_parameters()}
    assert names <= changed(spec, model)


def test_stages_follow_one_another(spec: dict[str, Any], train: Train) -> None:
    stage = spec["train"]["stages"][0]
    spec["train"]["stages"] = [
        {**stage, "name": "adapters", "train": ["*.adapter"]},
        {**stage, "name": "heads", "train": ["mood.head", "grow.head"]},
    ]
    moved = {name.split(".")[0] + "." + name.split(".")[1] for name in changed(spec, train(spec))}
    assert moved == {"image.adapter", "audio.adapter", "mood.head", "grow.head"}
    assert [line for line in train.said if line.startswith("saved")]  # type: ignore[attr-defined]


def test_a_frozen_node_keeps_its_statistics_and_has_no_dropout(spec: dict[str, Any], train: Train) -> None:
    spec["modalities"]["image"]["encoder"]["dropout"] = 0.5
    spec["train"]["stages"][0] |= {"train": ["backbone", "*.head"], "steps": 3}
    modes: set[bool] = set()
    build = mmkit.Model.train

    def look(self: mmkit.Model, mode: bool = True) -> mmkit.Model:
        build(self, mode)
        modes.update(module.training for module in self.nodes()["image.encoder"].modules() if mode)
        return self

    mmkit.Model.train = look  # type: ignore[method-assign]
    try:
        model = train(spec)
    finally:
        mmkit.Model.train = build  # type: ignore[method-assign]
    assert modes == {False}
    assert not [name for name in changed(spec, model) if name.startswith("image.")]
    spec["train"]["stages"][0]["train"] = ["*"]
    assert [name for name in changed(spec, train(spec)) if "running_mean" in name]


@pytest.mark.parametrize(("size", "passes"), [(4, 4), (2, 8), (1, 16)])
def test_accumulation_over_mixed_tasks_is_one_large_batch(
    spec: dict[str, Any], train: Train, tmp_path: Path, size: int, passes: int
) -> None:
    """Tasks count ids, samples or labels, and most passes lack some of them: the step is the same."""
    spec["modalities"]["image"]["encoder"]["norm"] = "group"  # batch statistics would differ, as they should
    found = []
    for given in ((16, 1), (size, passes)):
        spec["train"]["stages"][0] |= {"batch_size": given[0], "accumulate": given[1], "steps": 2, "lr": 1e-3}
        model = train(spec, output=tmp_path / f"model{given[0]}")
        found.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(found[0], found[1], atol=2e-5, rtol=0)


def test_bf16_computes_in_bf16_and_keeps_weights_in_float32(
    spec: dict[str, Any], train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del spec["tasks"]["hear"], spec["data"]["train"][-1]
    kinds: set[torch.dtype] = set()
    linear = torch.nn.Linear.forward

    def look(self: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
        y = linear(self, x)
        if self.training:
            kinds.add(y.dtype)
        return y

    monkeypatch.setattr(torch.nn.Linear, "forward", look)
    whole = train(spec, output=tmp_path / "fp32")
    assert kinds == {torch.float32}
    kinds.clear()
    spec["train"]["precision"] = "bf16"
    half = train(spec, output=tmp_path / "bf16")
    assert kinds == {torch.bfloat16}
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    rows = [{"text": "ab"}, {"text": "d"}]
    for one, other in zip(whole.predict("mood", rows), half.predict("mood", rows), strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=0.02)
        assert one["probabilities"] != other["probabilities"]


def test_a_seed_gives_the_same_model_bit_for_bit_and_another_another(
    spec: dict[str, Any], train: Train, tmp_path: Path
) -> None:
    spec["backbone"]["dropout"] = 0.2
    spec["modalities"]["image"]["encoder"]["augment"] = ["flip", "shift"]
    spec["train"]["stages"].append({"name": "more", "steps": 1, "batch_size": 3})

    def weights(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(torch.seed() % 1000)  # whatever the caller drew before
        return train(spec, seed=seed, output=tmp_path / "model").state_dict()

    first, again, other = weights(5), weights(5), weights(6)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    spec["train"]["seed"] = 5
    assert all(torch.equal(first[name], value) for name, value in train(spec).state_dict().items())


def test_a_run_that_is_cut_off_leaves_the_model_of_its_last_save(
    spec: dict[str, Any], train: Train, tmp_path: Path
) -> None:
    spec["train"]["save_every"] = 2
    spec["train"]["stages"][0]["steps"] = 6

    def step(stage: str, at: int, of: int, figures: Any) -> None:
        if at == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(spec, step=step)
    saved = sorted(path.parent for path in (tmp_path / "model").rglob("manifest.json"))
    assert saved
    assert mmkit.load(saved[-1], verify=True).predict("mood", {"text": "ab"})


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_task_and_its_samples(
    spec: dict[str, Any], train: Train, tmp_path: Path
) -> None:
    spec["tasks"]["grow"]["head"] = {"use": "regress", "std": 1e-38}
    folder = tmp_path / "model"
    good = {**spec, "tasks": {**spec["tasks"], "grow": {**spec["tasks"]["grow"], "head": "regress"}}}
    train(good)
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(mmkit.TrainingError) as caught:
        train(spec)
    row = re.escape(str(tmp_path / "rows.jsonl")) + r":[1-4]"
    assert re.fullmatch(
        rf"the loss of task grow is inf at step 1; samples: {row}(, {row}){{4}} …; "
        "the last saved model is untouched; try a lower lr, or look at these rows",
        str(caught.value),
    )
    assert (folder / "model.safetensors").read_bytes() == before
