"""A talker: a second language model whose prompt are the hidden states of the first, the thinker. On real text."""

import codecs
import io
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch

import mmkit
from mmkit.model.batch import pack
from mmkit.model.model import Run

LLAMA = {"model_type": "llama", "vocab_size": 8, "intermediate_size": 96, "num_attention_heads": 2}
LLAMA |= {"num_hidden_layers": 1}


def zen() -> list[str]:
    """The lines of the Zen of Python (Tim Peters)."""
    with redirect_stdout(io.StringIO()):
        import this

    return [line for line in codecs.decode(this.s, "rot13").splitlines()[2:] if line]


def row(line: str) -> dict[str, str]:
    words = line.split()
    return {"start": " ".join(words[:3]), "rest": " ".join(words[3:])}


ROWS = [row(line) for line in zen()]

Train = Callable[..., mmkit.Model]


@pytest.fixture
def spec(write_rows: Callable[..., Path]) -> dict[str, Any]:
    source = {"task": "speak", "path": str(write_rows(ROWS))}
    thinker = {"use": "causal-lm", "config": {**LLAMA, "hidden_size": 48}}
    talker = {"use": "causal-lm", "config": {**LLAMA, "hidden_size": 64}}
    return {
        "mmkit": 1,
        "modalities": {"text": {"adapter": "characters"}, "speech": {"adapter": "characters"}},
        "backbone": thinker,
        "nodes": {"talker": {"backbone": talker, "reads": [{"node": "backbone", "adapter": "linear"}]}},
        "tasks": {
            "speak": {
                "input": "{start}",
                "output": "{rest}",
                "columns": {"start": "text", "rest": "speech"},
                "reads": "talker",
                "head": "generate",
            },
        },
        "data": {"train": [source], "test": [source]},
        "train": {"stages": [{"name": "all", "steps": 8, "batch_size": 19, "lr": 0.005, "schedule": "constant"}]},
    }


def made(spec: dict[str, Any]) -> mmkit.Model:
    return mmkit.build(spec, fit={"text": zen(), "speech": zen()}, seed=0)


def packed(model: mmkit.Model, rows: list[dict[str, str]]) -> Any:
    prepare = model.preparer()
    return pack([prepare("speak", row) for row in rows], model.processors(), ["speak"])


def test_a_few_steps_on_real_text_lower_the_loss_and_it_speaks(
    spec: dict[str, Any], train: Train, tmp_path: Path
) -> None:
    before = made(spec).eval()
    first = float(before(packed(before, ROWS))["loss"].detach())
    spec["train"]["stages"][0]["steps"] = 60
    model = train(spec)
    assert mmkit.evaluate(model)["speak"].metrics["loss"] < 0.75 * first
    spoken = model.predict("speak", ROWS, max_new_tokens=20)
    assert all(isinstance(text, str) for text in spoken)
    assert len(set(spoken)) > 3
    again = mmkit.load(tmp_path / "model")
    assert again.predict("speak", ROWS, max_new_tokens=20) == spoken
    for name, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_gradients_reach_the_thinker_and_a_frozen_one_gets_none(spec: dict[str, Any]) -> None:
    model = made(spec).train()
    model(packed(model, ROWS[:4]))["loss"].backward()
    nodes = model.nodes()
    for name in ("backbone", "talker.reads0", "talker"):
        gradients = [p.grad for p in nodes[name].parameters() if p.grad is not None]
        assert sum(float(g.abs().sum()) for g in gradients) > 0, name
    model.zero_grad()
    nodes["backbone"].requires_grad_(False)
    model(packed(model, ROWS[:4]))["loss"].backward()
    assert all(p.grad is None for p in nodes["backbone"].parameters())
    assert any(p.grad is not None for p in nodes["talker"].parameters())


@torch.no_grad()
def test_a_talker_hears_and_says_the_same_alone_and_in_a_batch(spec: dict[str, Any]) -> None:
    model = made(spec).eval()
    together = Run(model, packed(model, ROWS))
    prompts, scores = together.prompt("talker", range(len(ROWS))).split(), together.scores("talker", ["speak"])["speak"]
    logits, total = scores.replace(scores.logits()).split(), 0.0
    for index, one in enumerate(ROWS):
        alone = Run(model, packed(model, [one]))
        torch.testing.assert_close(prompts[index], alone.prompt("talker", [0]).values, atol=1e-5, rtol=1e-5)
        single = alone.scores("talker", ["speak"])["speak"]
        torch.testing.assert_close(logits[index], single.logits(), atol=1e-4, rtol=1e-4)
        total += float(alone.losses()["speak"].total)
    assert float(together.losses()["speak"].total) == pytest.approx(total, rel=1e-5)
    spoken = model.predict("speak", ROWS, max_new_tokens=12)
    assert [model.predict("speak", one, max_new_tokens=12) for one in ROWS] == spoken


def test_a_path_through_nodes_is_not_said_twice(spec: dict[str, Any], problems: Callable[..., list[str]]) -> None:
    spec["tasks"]["speak"]["through"] = ["backbone", "talker"]
    assert problems(spec, static=True)[0].startswith("tasks.speak.through: unknown key")
