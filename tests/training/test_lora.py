"""Low-rank adapters: where they land, that they change nothing untrained, merged and kept apart, and wrong targets."""

from pathlib import Path
from typing import Any

import pytest
import torch

import mmkit
from mmkit.model.lora import Lora, adaptable, attach, merge

BLOCK = [
    *(f"backbones.backbone.encoder.0.attention.{name}" for name in ("query", "key", "value", "out")),
    *(f"backbones.backbone.encoder.0.feed_forward.{name}" for name in ("gate", "up", "down")),
]


@pytest.fixture
def spec(spec: dict[str, Any]) -> dict[str, Any]:
    spec["train"] |= {
        "stages": [{"name": "all", "steps": 3, "batch_size": 4, "lr": 0.05, "warmup": 0.0, "lora": {"r": 2}}],
        "save_every": None,
    }
    return spec


def trained(spec: dict[str, Any], output: Path, said: list[str] | None = None) -> mmkit.Model:
    return mmkit.train(spec, output=output, say=(lambda line: None) if said is None else said.append)


def with_lora(spec: dict[str, Any], **options: Any) -> dict[str, Any]:
    spec["train"]["stages"][0]["lora"].update(options)
    return spec


def problems(spec: dict[str, Any], tmp_path: Path) -> list[str]:
    with pytest.raises(mmkit.SpecError) as caught:
        trained(spec, tmp_path / "model")
    return [str(problem) for problem in caught.value.problems]


def test_by_default_adapters_land_on_the_backbone_and_nowhere_else(spec: dict[str, Any], tmp_path: Path) -> None:
    model = trained(with_lora(spec, merge=False), tmp_path / "model")
    assert list(model.lora[0].modules) == BLOCK
    bare = mmkit.load(tmp_path / "model")
    names = {name.partition(".lora_")[0] for name, _ in bare.named_parameters() if ".lora_" in name}
    assert names == set(BLOCK)


def test_the_table_says_what_trains(spec: dict[str, Any], tmp_path: Path) -> None:
    said: list[str] = []
    spec["train"]["stages"][0]["train"] = ["backbone", "mood.head"]
    spec["train"]["stages"][0]["lr"] = {"*": 0.05, "mood.head": 0.01}
    trained(spec, tmp_path / "model", said)
    assert said[:4] == [
        "stage all: 674 of 4,418 parameters train",
        "  backbone             640 /         4,384  lr 0.05  LoRA on 7 layers",
        "  mood.head             34 /            34  lr 0.01",
        "stage all  step 1/3  " + said[3].partition("step 1/3  ")[2],
    ]


@pytest.mark.parametrize("dora", [False, True])
def test_untrained_adapters_change_nothing(spec: dict[str, Any], tmp_path: Path, dora: bool) -> None:
    model = trained(spec, tmp_path / "model")
    before = model.predict("mood", {"text": "a red thing"})
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    attach(model, Lora(tuple(BLOCK), r=2, alpha=4.0, dora=dora))
    after = model.eval().predict("mood", {"text": "a red thing"})
    assert after["probabilities"] == pytest.approx(before["probabilities"], abs=1e-6)
    assert merge(model) == len(BLOCK)
    assert model.state_dict().keys() == state.keys()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, state[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("dora", [False, True])
def test_adapters_are_merged_into_a_plain_model_that_computes_the_same(
    spec: dict[str, Any], tmp_path: Path, dora: bool
) -> None:
    text = {"text": "a warm old thing"}
    apart = trained(with_lora(spec, dora=dora, merge=False), tmp_path / "apart")
    merged = trained(with_lora(spec, merge=True), tmp_path / "merged")
    assert not merged.lora
    assert type(merged.get_submodule(BLOCK[0])) is torch.nn.Linear
    assert not [name for name in merged.state_dict() if "lora" in name or "base_layer" in name]
    same = apart.predict("mood", text)["probabilities"]
    assert merged.predict("mood", text)["probabilities"] == pytest.approx(same, abs=1e-6)
    assert mmkit.load(tmp_path / "merged").predict("mood", text) == merged.predict("mood", text)


def test_frozen_weights_under_adapters_do_not_move(spec: dict[str, Any], tmp_path: Path) -> None:
    model = trained(with_lora(spec, merge=False), tmp_path / "model")
    longer = trained(
        {**spec, "train": {**spec["train"], "seed": 0, "stages": [{**spec["train"]["stages"][0], "steps": 1}]}},
        tmp_path / "one",
    )
    for name, tensor in longer.state_dict().items():
        moved = not torch.equal(tensor, model.state_dict()[name])
        assert moved == (".lora_" in name or ".head" in name or "heads." in name), name


@pytest.mark.parametrize("dora", [False, True])
def test_adapters_kept_apart_load_again_bit_for_bit(spec: dict[str, Any], tmp_path: Path, dora: bool) -> None:
    model = trained(with_lora(spec, dora=dora, merge=False, alpha=3.0, dropout=0.1), tmp_path / "model")
    again = mmkit.load(tmp_path / "model", verify=True)
    assert again.lora == model.lora
    assert again.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert again.predict("swap", {"text": "a red old thing"}) == model.predict("swap", {"text": "a red old thing"})
    saved = again.save(tmp_path / "again")
    assert (saved / "model.safetensors").read_bytes() == (tmp_path / "model" / "model.safetensors").read_bytes()


def test_later_stage_trains_on_after_a_merge(spec: dict[str, Any], tmp_path: Path) -> None:
    said: list[str] = []
    spec["train"]["stages"].append({"name": "whole", "steps": 1, "batch_size": 4, "lr": 0.01, "warmup": 0.0})
    model = trained(spec, tmp_path / "model", said)
    assert "stage all: adapters of 7 layers merged" in said
    assert "stage whole: 3,778 of 3,778 parameters train" in said
    first = mmkit.load(tmp_path / "model" / "checkpoints" / "stage01-step00000000")
    assert not torch.equal(first.state_dict()[f"{BLOCK[0]}.weight"], model.state_dict()[f"{BLOCK[0]}.weight"])


def test_later_stage_goes_on_with_the_same_adapters_kept_apart(spec: dict[str, Any], tmp_path: Path) -> None:
    with_lora(spec, merge=False)
    spec["train"]["stages"].append({**spec["train"]["stages"][0], "name": "more"})
    model = trained(spec, tmp_path / "model")
    assert len(model.lora) == 1
    spec["train"]["stages"][1] = {**spec["train"]["stages"][1], "lora": {"r": 4, "merge": False}}
    assert problems(spec, tmp_path) == [
        "train.stages[1].lora: 7 layers have adapters of an earlier stage that were kept apart, the first is "
        "backbones.backbone.encoder.0.attention.key\n"
        "    fix: give both stages the same lora, or set lora.merge: true in the earlier one"
    ]


def test_wrong_targets_of_every_stage_are_told_before_any_is_trained(spec: dict[str, Any], tmp_path: Path) -> None:
    with_lora(spec, targets=["backbone.*.querry", "backbone.*.key"])
    spec["train"]["stages"].append({"name": "b", "steps": 1, "train": ["mood.head"], "lora": {}})
    spec["train"]["stages"].append({"name": "c", "steps": 1, "train": ["mod.head"]})
    spec["train"]["stages"].append({"name": "d", "steps": 1, "train": ["mood.head"], "lr": {"backbone": 0.1}})
    assert problems(spec, tmp_path) == [
        "train.stages[0].lora.targets[0]: 'backbone.*.querry' matches no linear layer: did you mean 'query'?",
        "train.stages[1].lora: no backbone that `train` names whole has linear layers to adapt\n"
        "    fix: name them: lora: {targets: [image.encoder]}; layers: "
        + ", ".join(name.removeprefix("backbones.") for name in BLOCK[:5]),
        "train.stages[2].train[0]: 'mod.head' matches no parameter: did you mean 'mood.head'?",
        "train.stages[3].lr.backbone: 'backbone' matches nothing that trains in this stage: allowed: mood.head",
        "train.stages[3].lr: 2 trainable parameters have no learning rate, the first is mood.head.output.weight\n"
        '    fix: put "*": 1.0e-3 first, for the others',
    ]
    assert not (tmp_path / "model").exists()


def test_tied_weights_are_not_merged_into_two_places(spec: dict[str, Any], tmp_path: Path) -> None:
    config = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    config |= {"num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": True}
    spec["backbone"] = {"use": "causal-lm", "config": config}
    with_lora(spec, targets=["*lm_head", "*q_proj"])
    assert problems(spec, tmp_path) == [
        "train.stages[0].lora: backbones.backbone.lm.lm_head shares its weight with "
        "backbones.backbone.lm.model.embed_tokens.weight, so merging its adapter would change both\n"
        "    fix: leave it out of lora.targets, or set lora.merge: false"
    ]
    with_lora(spec, merge=False)
    assert len(trained(spec, tmp_path / "model").lora[0].modules) == 2


def test_multihead_attention_layers_that_are_bypassed_are_not_offered() -> None:
    attention = torch.nn.MultiheadAttention(8, 2)
    assert adaptable(attention) == {}


def test_four_bits_without_bitsandbytes_name_the_extra(spec: dict[str, Any], tmp_path: Path) -> None:
    import importlib.util

    if importlib.util.find_spec("bitsandbytes"):
        pytest.skip("bitsandbytes is installed")
    with pytest.raises(mmkit.TrainingError) as caught:
        trained(with_lora(spec, bits=4), tmp_path / "model")
    assert str(caught.value) == (
        "lora.bits needs bitsandbytes, which is not installed; fix: pip install 'mmkit[qlora]', or leave out lora.bits"
    )


def test_four_bits_train_and_save_plain_weights(spec: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    with_lora(spec, bits=4, merge=False)
    model = trained(spec, tmp_path / "model")
    again = mmkit.load(tmp_path / "model")
    assert type(again.get_submodule(BLOCK[0]).base_layer) is torch.nn.Linear
    same = model.predict("mood", {"text": "a red thing"})["probabilities"]
    assert again.predict("mood", {"text": "a red thing"})["probabilities"] == pytest.approx(same, abs=1e-6)
    merged = trained(with_lora(spec, merge=True), tmp_path / "merged")
    assert merged.predict("mood", {"text": "a red thing"})["probabilities"] == pytest.approx(same, abs=1e-5)
