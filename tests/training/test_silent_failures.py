"""What Hugging Face Trainer gets wrong without a word does not reach our users."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import mmkit
from mmkit.data.loading import open_all
from mmkit.model.batch import PackedBatch
from mmkit.spec.schema import Stage, Train
from mmkit.training.arguments import arguments


@pytest.fixture
def spec(spec: dict[str, Any]) -> dict[str, Any]:
    spec["train"] |= {"save_every": None, "stages": [{"name": "all", "steps": 1, "batch_size": 8, "warmup": 0.0}]}
    spec["backbone"]["dropout"] = 0.0
    return spec


def quiet(line: str) -> None:
    pass


def gradient(spec: dict[str, Any], output: Path, size: int, passes: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every gradient of the first optimizer step, before clipping."""
    from mmkit.training.trainer import PackedTrainer

    found: dict[str, torch.Tensor] = {}
    clip = PackedTrainer._clip_grad_norm

    def look(self: Any, model: Any) -> float:
        found.update({n: p.grad.clone() for n, p in self.net.named_parameters() if p.grad is not None})
        return clip(self, model)

    monkeypatch.setattr(PackedTrainer, "_clip_grad_norm", look)
    spec["train"]["stages"][0] |= {"batch_size": size, "accumulate": passes}
    mmkit.train(spec, output=output, say=quiet)
    return found


def test_four_passes_give_the_gradient_of_one_batch_of_mixed_tasks(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = gradient(spec, tmp_path / "one", 8, 1, monkeypatch)
    four = gradient(spec, tmp_path / "four", 2, 4, monkeypatch)
    assert one.keys() == four.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, four[name], atol=1e-6, rtol=1e-5)


def test_filter_that_hides_nan_and_filter_that_drops_columns_are_off() -> None:
    given = arguments(Train(stages=[Stage(name="a", steps=2)]), Stage(name="a", steps=2), 2, 0, "run")
    assert not given.logging_nan_inf_filter
    assert not given.remove_unused_columns
    assert given.save_strategy == "no"


def test_nan_is_never_logged_as_zero(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["train"]["stages"][0] |= {"steps": 6, "lr": 1e30, "clip": 1e30, "schedule": "constant"}
    logged: list[float] = []

    def step(stage: str, at: int, of: int, figures: dict[str, float]) -> None:
        logged.extend([figures["loss"]] if "loss" in figures else [])

    with pytest.raises(mmkit.TrainingError, match="is (nan|inf) at step|is not finite at step"):
        mmkit.train(spec, output=tmp_path / "model", say=quiet, step=step)
    assert all(math.isfinite(value) and value > 0 for value in logged)


def test_every_column_a_template_names_reaches_the_model(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of a modality is nothing that a forward signature could know."""
    spec["modalities"] = {"pulse": {"adapter": {"use": "characters"}}, "words": {"adapter": {"use": "characters"}}}
    spec["tasks"] = {
        "both": {
            "input": "{a}{b}",
            "output": "{label}",
            "columns": {"a": "pulse", "b": "words"},
            "head": {"use": "classify", "labels": ["cold", "warm"]},
        }
    }
    source = spec["data"]["train"][0]
    spec["data"]["train"] = [{"task": "both", "path": source["path"], "rename": {"text": "a", "out": "b"}}]
    seen: list[PackedBatch] = []
    forward = mmkit.Model.forward
    monkeypatch.setattr(mmkit.Model, "forward", lambda self, batch, **more: seen.append(batch) or forward(self, batch))
    model = mmkit.train(spec, output=tmp_path / "model", say=quiet)
    [rows] = open_all(model.plan, "train")
    texts = {len(row["a"]) + len(row["b"]) for row in rows}
    assert seen
    assert set(seen[0].stream_lengths.tolist()) <= texts


def test_tied_weights_are_saved_and_stay_tied(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["backbone"] |= {"tie": True}
    config = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    config |= {"num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": True}
    spec["backbone"] = {"use": "causal-lm", "config": config}
    spec["train"] |= {"save_every": 1}
    spec["train"]["stages"][0] |= {"steps": 2}
    model = mmkit.train(spec, output=tmp_path / "model", say=quiet)
    for folder in (tmp_path / "model", tmp_path / "model" / "checkpoints" / "stage00-step00000001"):
        lm = mmkit.load(folder, verify=True).parts.backbones["backbone"].lm
        assert lm.lm_head.weight is lm.model.embed_tokens.weight
    again = mmkit.load(tmp_path / "model")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_tied_weights_get_one_optimizer_state(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["backbone"] |= {"tie": True}
    said: list[str] = []
    model = mmkit.train(spec, output=tmp_path / "model", say=said.append)
    total = sum(p.numel() for p in model.parameters())
    assert said[0] == f"stage all: {total:,} of {total:,} parameters train"


def test_last_step_of_an_epoch_with_fewer_passes_is_taken(spec: dict[str, Any], tmp_path: Path) -> None:
    """60 rows in batches of 7, four to a step: nine batches, the third step has one."""
    spec["data"]["train"] = spec["data"]["train"][:1]
    spec["train"]["stages"][0] = {"name": "all", "epochs": 1, "batch_size": 7, "accumulate": 4}
    steps: list[tuple[int, int]] = []
    mmkit.train(spec, output=tmp_path / "m", say=quiet, step=lambda stage, at, of, figures: steps.append((at, of)))
    assert sorted(set(steps)) == [(1, 3), (2, 3), (3, 3)]


def test_batch_without_what_trains_moves_nothing(spec: dict[str, Any], tmp_path: Path) -> None:
    """Only one task's head trains; steps of the other task alone leave it where it was."""
    spec["train"]["stages"][0] |= {"train": ["mood.head"], "steps": 12, "batch_size": 1}
    losses: list[set[str]] = []

    def step(stage: str, at: int, of: int, figures: dict[str, float]) -> None:
        losses.append({name for name in figures if name.startswith("loss_")})

    mmkit.train(spec, output=tmp_path / "model", say=quiet, step=step)
    assert {"loss_swap"} in losses
    assert {"loss_mood"} in losses
