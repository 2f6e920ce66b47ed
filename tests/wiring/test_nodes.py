"""`nodes:` – graphs that the sugar cannot say – are built, trained and predict; those that cannot be are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mmkit
from mmkit.model.batch import pack
from mmkit.model.model import Run

LLAMA = {"model_type": "llama", "vocab_size": 8, "hidden_size": 16, "intermediate_size": 24}
LLAMA |= {"num_hidden_layers": 1, "num_attention_heads": 2}
ROWS = [{"text": text, "audio": text[::-1]} for text in ("abc", "de", "fgh", "a", "hgfe", "cab", "bed", "ha")]

Train = Callable[..., mmkit.Model]


@pytest.fixture
def talker(write_rows: Callable[..., Path]) -> dict[str, Any]:
    """A second language model speaks what the first one thinks; its codes are a vocabulary of their own."""
    source = {"task": "speak", "path": str(write_rows(ROWS))}
    return {
        "mmkit": 1,
        "modalities": {"text": {"adapter": {"use": "characters"}}, "audio": {"adapter": {"use": "characters"}}},
        "backbone": {"use": "causal-lm", "config": LLAMA},
        "nodes": {
            "talker": {
                "backbone": {"use": "causal-lm", "config": {**LLAMA, "hidden_size": 24}},
                "reads": [{"node": "backbone", "adapter": {"use": "linear"}}],
            }
        },
        "tasks": {
            "speak": {
                "input": "{text}",
                "output": "{audio}",
                "reads": "talker",
                "head": {"use": "generate", "max_new_tokens": 6},
            },
            "write": {"input": "{text}", "output": "{text}", "head": {"use": "generate", "max_new_tokens": 6}},
        },
        "data": {"train": [source, {**source, "task": "write"}], "test": [source]},
        "train": {"stages": [{"name": "all", "steps": 1, "batch_size": 8, "lr": 0.01}]},
    }


def test_a_talker_is_built_trained_and_speaks(talker: dict[str, Any], train: Train, tmp_path: Path) -> None:
    before = mmkit.build(talker, fit={"text": ["abcdefgh"], "audio": ["abcdefgh"]}).state_dict()
    model = train(talker)
    assert list(model.nodes()) == ["talker.reads0", "backbone", "talker", "speak.head", "write.head"]
    changed = {name.split(".")[1] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"talker/reads0", "backbone", "talker"}
    spoken = model.predict("speak", ROWS)
    assert all(isinstance(text, str) for text in spoken)
    again = mmkit.load(tmp_path / "model")
    assert again.predict("speak", ROWS) == spoken
    assert again.predict("write", ROWS) == model.predict("write", ROWS)
    assert mmkit.evaluate(again)["speak"].predictions == spoken


def test_a_talker_learns(talker: dict[str, Any], train: Train) -> None:
    talker["train"]["stages"][0] |= {"steps": 120, "lr": 0.01}
    model = train(talker)
    assert sum(got == row["audio"] for got, row in zip(model.predict("speak", ROWS), ROWS, strict=True)) >= 7
    assert sum(got == row["text"] for got, row in zip(model.predict("write", ROWS), ROWS, strict=True)) >= 7


@torch.no_grad()
def test_a_talker_reads_the_states_of_the_first_backbone(talker: dict[str, Any]) -> None:
    model = mmkit.build(talker, fit={"text": ["abcdefgh"], "audio": ["abcdefgh"]}).eval()
    prepare = model.preparer()
    samples = [prepare("speak", ROWS[0]), prepare("write", ROWS[1]), prepare("speak", ROWS[2])]
    run = Run(model, pack(samples, model.processors(), ["speak", "write"]))
    states = model.backbones["backbone"](run.stream([0, 2]))
    expected = model.parts.adapters["talker.reads0"](states)
    prompt = run.prompt("talker", [0, 2])
    assert prompt.sizes == [3, 3]
    torch.testing.assert_close(prompt.values, expected.values, atol=1e-6, rtol=1e-5)
    together = run.losses()["speak"].total
    alone = sum(Run(model, pack([one], model.processors(), ["speak"])).losses()["speak"].total for one in samples[::2])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-5)
    size = model.vocabularies["audio"].size
    assert run.scores("talker", ["speak"])["speak"].logits().shape == (8, size)


def graph(mood: dict[str, Any]) -> dict[str, Any]:
    """Two readers of several nodes, the second named before the one it reads."""
    lstm = {"use": "lstm", "embedding_dim": 8, "hidden_dim": 6}
    mood["modalities"]["image"] = {"encoder": {"use": "cnn", "image_size": 8, "channels": [4]}, "adapter": "linear"}
    mood["nodes"] = {
        "last": {
            "backbone": lstm,
            "reads": [{"node": "first", "adapter": "linear"}, {"node": "image.adapter"}],
        },
        "first": {
            "backbone": {"use": "transformer", "dim": 8, "layers": 1, "heads": 2, "dropout": 0.0},
            "reads": [{"node": "image.encoder", "adapter": {"use": "pool"}}, {"node": "backbone"}],
        },
    }
    mood["tasks"]["mood"] |= {"input": "{text}{image}", "reads": "last"}
    mood["tasks"]["words"] = {
        "input": "{text}",
        "output": "{label}",
        "reads": "first",
        "head": mood["tasks"]["mood"]["head"],
    }
    mood["data"] = None
    return mood


@torch.no_grad()
def test_nodes_read_several_nodes_in_any_order_of_the_spec(mood: dict[str, Any], picture: Any) -> None:
    model = mmkit.build(graph(mood), fit={"text": ["a fine film"]}).eval()
    rows = [{"text": "a fine film", "image": picture(1)}, {"text": "", "image": picture(2)}]
    prepare = model.preparer()
    samples = [prepare("mood", rows[0], target=False), prepare("words", {"text": "a film"}, target=False)]
    run = Run(model, pack([*samples, prepare("mood", rows[1], target=False)], model.processors()))
    assert run.prompt("first", [0, 1, 2]).sizes == [1 + 3 + 16, 1 + 2, 1 + 16]  # pool: a token also of no picture
    assert run.prompt("last", [0, 2]).sizes == [20 + 16, 17 + 16]
    together = model.predict("mood", rows)
    for row, one in zip(rows, together, strict=True):
        alone = model.predict("mood", row)["probabilities"]
        assert alone == pytest.approx(one["probabilities"], abs=1e-5)


def test_all_widths_that_do_not_fit_are_reported_at_once(mood: dict[str, Any], problems: Any) -> None:
    spec = graph(mood)
    spec["backbone"]["embedding_dim"] = 10
    spec["modalities"]["image"] = {"encoder": {"use": "cnn", "image_size": 8, "channels": [4]}}
    spec["nodes"]["last"]["reads"] = [{"node": "first"}, {"node": "image.encoder"}]
    spec["nodes"]["first"]["backbone"] = {"use": "lstm", "embedding_dim": 12, "hidden_dim": 7}
    spec["nodes"]["first"]["reads"] = [{"node": "backbone"}]
    fix = "\n    fix: put an adapter between them, for example adapter: {use: linear}"
    assert problems(spec) == [
        f"nodes.first.backbone: reads[0] gives tokens 8 wide, the backbone reads 12{fix}",
        f"nodes.last.backbone: reads[0] gives tokens 7 wide, the backbone reads 8{fix}",
        f"nodes.last.backbone: reads[1] gives tokens 4 wide, the backbone reads 8{fix}",
        "modalities.image.encoder: modality 'image' gives tokens 4 wide, the backbone reads 10\n"
        "    fix: add or change its adapter, for example adapter: {use: linear}",
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"talker": "talker"}, "nodes.talker.reads: node 'talker' reads itself, directly or through others"),
        ({"talker": "other", "other": "talker"}, "nodes.talker.reads: node 'talker' reads itself, directly or through others"),
        ({"talker": "backbon"}, "nodes.talker.reads[0].node: there is no node 'backbon': did you mean 'backbone'?"),
        ({"talker": "text"}, "nodes.talker.reads[0].node: there is no node 'text': allowed: backbone, talker"),
    ],
)  # fmt: skip
def test_graphs_that_cannot_be_are_refused(
    talker: dict[str, Any], problems: Any, changes: dict[str, str], expected: str
) -> None:
    for name, node in changes.items():
        talker["nodes"][name] = {**talker["nodes"]["talker"], "reads": [{"node": node, "adapter": "linear"}]}
    assert problems(talker) == [expected]


def test_a_node_reads_something(talker: dict[str, Any], problems: Any) -> None:
    talker["nodes"]["talker"]["reads"] = []
    assert problems(talker) == [
        "nodes.talker.reads: List should have at least 1 item after validation, not 0",
    ]


def test_the_picture_of_the_graph_has_every_edge(talker: dict[str, Any]) -> None:
    from mmkit.discovery import discover
    from mmkit.wiring.draw import graph
    from mmkit.wiring.planner import plan

    arrows = graph(plan(talker, discover())).arrows
    assert {(arrow.source, arrow.target) for arrow in arrows} >= {
        ("backbone", "talker.reads0"),
        ("talker.reads0", "talker"),
        ("talker", "speak.head"),
        ("backbone", "write.head"),
    }
