"""``train.compile`` and ``train.checkpoint_activations``: the run is the same, and says what it did; AdamW runs fused."""

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mmkit
from mmkit.errors import TrainingError
from mmkit.model import blocks
from mmkit.training.trainer import PackedTrainer

Run = Callable[..., Any]


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture
def layered(spec: dict[str, Any]) -> dict[str, Any]:
    """Two layers; the second stage trains LoRA on them and, of the rest, only the heads."""
    spec["backbone"]["layers"] = 2
    spec["train"]["stages"][1] |= {"train": ["*.head", "backbone"], "lora": {"r": 2, "dropout": 0.1}}
    return spec


def test_checkpointed_activations_change_no_loss_and_no_weight_also_when_a_run_goes_on_with_them(
    layered: dict[str, Any], run: Run, tmp_path: Path
) -> None:
    whole = run(layered, tmp_path / "whole")
    killed = run(layered, tmp_path / "model", kill=("first", 3))
    assert killed.status == -signal.SIGKILL
    layered["train"]["checkpoint_activations"] = True
    again = run(layered, tmp_path / "model", resume=True)
    assert again.status == 0, again.error
    assert {**killed.losses, **again.losses} == whole.losses
    assert weights(tmp_path / "model") == weights(tmp_path / "whole")
    assert [line for line in again.said if "block" in line] == [
        "stage first: 2 repeated blocks are checkpointed",
        "stage second: 2 repeated blocks are checkpointed",
    ]


@pytest.mark.slow
def test_compiled_blocks_train_the_same_model_and_every_stage_says_its_recompiles(
    layered: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_BACKEND", "eager")  # the graphs, without a C++ compiler
    plain = mmkit.train(layered, output=tmp_path / "plain", say=lambda line: None)
    layered["train"]["compile"] = True
    said: list[str] = []
    mmkit.train(layered, output=tmp_path / "model", say=said.append)
    lines = [line for line in said if re.search("blocks are compiled|recompiles", line)]
    told = [re.sub(r"\d+ recompiles", "… recompiles", line) for line in lines]
    assert told == [
        "stage first: 2 repeated blocks are compiled",
        "stage first: … recompiles",
        "stage second: 2 repeated blocks are compiled",
        "stage second: … recompiles",
    ]
    loaded = mmkit.load(tmp_path / "model")
    assert list(loaded.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(loaded.state_dict(), plain.state_dict(), atol=1e-5, rtol=1e-5)
    row = {"text": "a red warm thing"}
    assert loaded.predict("swap", row) == plain.predict("swap", row)


def test_a_compiler_that_is_missing_is_named_with_the_way_out(
    layered: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(blocks, "_BACKEND", missing)
    llama = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    layered["backbone"] = {
        "use": "causal-lm",
        "config": {**llama, "num_attention_heads": 2},
    }  # no checks of shapes inside
    layered["train"]["compile"] = True
    with pytest.raises(TrainingError) as caught:
        mmkit.train(layered, output=tmp_path / "model", say=lambda line: None)
    assert str(caught.value) == (
        "train.compile: the repeated blocks cannot be compiled at step 1 of stage first: RuntimeError: No working C++ "
        "compiler found\n"
        "  fix: install what is missing (on the CPU a C++ compiler such as g++, on a GPU triton), or train.compile: false; "
        "the last saved checkpoint is untouched"
    )


def test_a_model_without_repeated_blocks_says_that_nothing_is_compiled(layered: dict[str, Any], tmp_path: Path) -> None:
    layered["backbone"] = {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8}
    layered["train"] |= {"compile": True, "checkpoint_activations": True}
    layered["train"]["stages"] = layered["train"]["stages"][:1]
    said: list[str] = []
    mmkit.train(layered, output=tmp_path / "model", say=said.append)
    assert [line for line in said if "block" in line or "recompile" in line] == [
        "stage first: no node repeats a block, so nothing is compiled",
        "stage first: no node repeats a block, so nothing is checkpointed",
    ]


@pytest.mark.parametrize("optimizer", ["adamw", "adam"])
def test_the_optimizer_is_fused(
    layered: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    made: list[torch.optim.Optimizer] = []
    create = PackedTrainer.create_optimizer
    monkeypatch.setattr(
        PackedTrainer, "create_optimizer", lambda self, *given: (made.append(create(self, *given)), made[-1])[1]
    )
    for stage in layered["train"]["stages"]:
        stage["optimizer"] = optimizer
    mmkit.train(layered, output=tmp_path / "model", say=lambda line: None)
    assert [(type(one), one.defaults["fused"]) for one in made] == [(torch.optim.AdamW, True)] * 2
    assert all(group["fused"] for one in made for group in one.param_groups)
