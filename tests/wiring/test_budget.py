"""Tokens, FLOPs and memory, beside figures worked out by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import nn

from mmkit import Ragged, SoftAdapter
from mmkit.wiring import budget
from mmkit.wiring.check import NodeReport, check


def spec(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "mmkit": 1,
        "modalities": {
            "image": {"encoder": {"use": "cnn", "image_size": 16, "channels": [4, 8]}, "adapter": "linear"},
            "audio": {
                "encoder": {"use": "conformer", "dim": 8, "layers": 1, "heads": 2, "ffn_dim": 8, "stride": 4},
                "adapter": {"use": "stack", "factor": 5},
            },
            "text": {"adapter": {"use": "words", "vocab_size": 30}},
        },
        "backbone": {"use": "transformer", "dim": 8, "layers": 2, "heads": 2, "ffn": 16, "tie": True},
        "tasks": {
            "say": {"input": "{image}{audio}", "output": "{en}", "columns": {"en": "text"}, "head": "generate"},
            "mood": {"input": "{image}", "output": "{l}", "head": {"use": "classify", "labels": ["a", "b"]}},
        },
    }
    return {**given, **changes}


def reports(given: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {row.node: row for row in check(given, **options)}


def test_tokens_of_a_typical_item_are_known_before_the_build() -> None:
    rows = reports(spec())
    assert (rows["image.encoder"].tokens, rows["image.adapter"].tokens) == (16, 16)
    assert (rows["audio.encoder"].tokens, rows["audio.adapter"].tokens) == (25, 5)
    assert rows["image.encoder"].item == "picture of 16 × 16 pixels"
    assert rows["audio.adapter"].item == "second of sound"
    assert (rows["text.adapter"].tokens, rows["text.adapter"].item) == (None, "")  # it has learnt nothing yet


def test_flops_counted_on_the_meta_device_are_those_worked_out_by_hand() -> None:
    rows = reports(spec(), flops=True)
    convolutions = 256 * 27 * 4 + 64 * (36 * 4 + 36 * 4 + 4 * 4) + 16 * (36 * 8 + 72 * 8 + 4 * 8)
    assert (rows["image.encoder"].flops, rows["image.encoder"].flops_per) == (2 * convolutions, "item")
    assert rows["image.adapter"].flops == 2 * 16 * 8 * 8
    assert rows["audio.adapter"].flops == 2 * 5 * (5 * 8) * 8
    seen = budget.TOKENS * 3 // 4  # of a half that is prompt its own half, of the rest all rows
    layers = 2 * (2 * (4 * 8 * 8 + 3 * 8 * 16) + 4 * seen * 8)
    scores = 2 * 8 * 30 // 2  # half of the tokens are targets
    assert (rows["backbone"].flops, rows["backbone"].flops_per) == (layers + scores, "token")
    assert all(rows[node].flops_counted for node in ("image.encoder", "audio.encoder", "audio.adapter", "backbone"))


def test_without_counting_two_operations_a_parameter_that_is_not_looked_up() -> None:
    rows = reports(spec())
    assert rows["image.encoder"].flops is None
    tables = 30 * 8
    assert rows["backbone"].flops == 2 * (rows["backbone"].parameters - tables)
    assert rows["mood.head"].flops == 2 * rows["mood.head"].parameters
    assert not rows["backbone"].flops_counted


def test_recurrent_layers_are_estimated_since_torch_does_not_count_them() -> None:
    rows = reports(spec(backbone={"use": "lstm", "embedding_dim": 8, "hidden_dim": 8}), flops=True)
    lstm, output = 4 * 8 * (8 + 8 + 2), 30 * 9
    assert (rows["backbone"].flops, rows["backbone"].flops_counted) == (2 * (lstm + output), False)


def test_memory_is_weights_and_three_more_for_each_that_trains_in_the_heaviest_stage() -> None:
    stages = [
        {"name": "one", "train": ["image.*"], "steps": 1},
        {"name": "two", "train": ["backbone", "*.head"], "steps": 1},
    ]
    rows = reports(spec(train={"stages": stages}))
    image, backbone = rows["image.encoder"], rows["backbone"]
    assert image.stages == {"one": image.parameters, "two": 0}
    assert image.megabytes == pytest.approx(4e-6 * image.parameters)
    heaviest = max("one", "two", key=lambda stage: sum(row.stages[stage] for row in rows.values()))
    for row in rows.values():
        assert row.training_megabytes == pytest.approx(4e-6 * (row.parameters + 3 * row.stages[heaviest]))
    assert backbone.trainable == backbone.parameters
    assert NodeReport("text.adapter", "text/words").trainable == 0


def test_an_adapter_that_cannot_take_the_typical_item_is_named() -> None:
    image = {"encoder": {"use": "cnn", "image_size": 16, "channels": [4, 8]}}
    image["adapter"] = {"use": "linear", "positions": "learned", "max_positions": 9}
    modalities = {**spec()["modalities"], "image": image}
    row = reports(spec(modalities=modalities))["image.adapter"]
    assert row.tokens is None
    assert row.notes[0].startswith("cannot take a picture of 16 × 16 pixels (16 rows): ")


def test_a_processor_without_an_example_leaves_the_figures_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "HasExample", type("Unknown", (), {}))
    rows = reports(spec(), flops=True)
    assert (rows["image.encoder"].tokens, rows["image.encoder"].flops) == (None, None)
    assert (rows["image.adapter"].tokens, rows["image.adapter"].flops_per) == (None, "token")


def test_a_node_that_cannot_be_run_is_estimated() -> None:
    class Stubborn(SoftAdapter):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.out_dim = nn.Linear(4, 6), 6

        def num_tokens(self, num_features: int) -> int:
            return num_features

        def forward(self, features: Ragged) -> Ragged:
            raise RuntimeError("not without an accelerator")

    item = budget.Nominal("thing", 3, 3)
    assert budget.count_adapter(Stubborn(), 4, item) == budget.Flops(2 * 30 * 3, "item", False)


def test_counting_leaves_the_module_as_it_was() -> None:
    layer = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    budget.count_adapter(layer, 3, None)
    assert layer.training
    assert all(p.requires_grad for p in layer.parameters())
    for name, tensor in layer.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_ready_made_tokenizers_and_text_encoders_show_a_sentence(tmp_path: Path) -> None:
    words = ["[UNK]", "<s>", "</s>", "a", "man"]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    ready = {"use": "tokenizer", "path": str(tmp_path / "tokenizer.json"), "begin": "<s>", "end": "</s>"}
    modalities = {
        "text": {"adapter": ready},
        "note": {"encoder": {"use": "gru", "vocabulary": ready}, "adapter": "pool"},
        "fresh": {"encoder": {"use": "gru", "vocabulary": {"use": "words"}}, "adapter": "pool"},
    }
    head = {"use": "classify", "labels": ["a", "b"]}
    rows = reports(spec(modalities=modalities, tasks={"t": {"input": "{text}{note}{fresh}", "head": head}}))
    assert (rows["text.adapter"].tokens, rows["text.adapter"].item) == (10, "sentence of 9 words")
    assert (rows["note.encoder"].tokens, rows["note.adapter"].tokens) == (10, 1)
    assert rows["fresh.encoder"].tokens is None  # its vocabulary has learnt nothing yet
