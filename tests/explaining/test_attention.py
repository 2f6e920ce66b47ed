"""Attention: rollout and attention × gradient by hand, a planted cue, other weights, and who has none."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mmkit
from mmkit import Attended, Ragged, SoftAdapter
from mmkit.explaining.look import token_of_rows
from mmkit.explaining.rollout import relevance, rollout

pytest.importorskip("captum", reason="pip install 'mmkit[explain]'")
FILLERS = ["the", "a", "this", "one", "it", "was"]
LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
BART = {
    "model_type": "bart",
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "dropout": 0.0,
}
TINY = {"dim": 32, "layers": 2, "heads": 2, "dropout": 0.0}
BACKBONES: dict[str, dict[str, Any]] = {
    "prefix": {"use": "transformer", **TINY},
    "encoder-decoder": {"use": "transformer", "form": "encoder-decoder", **TINY},
    "causal-lm": {"use": "causal-lm", "config": LLAMA},
    "seq2seq-lm": {"use": "seq2seq-lm", "config": BART},
}


def rows() -> list[dict[str, str]]:
    """Five words, one of the first four a colour, and what is to be written: the colour."""
    chance, found = random.Random(0), []
    for _ in range(120):
        words = [chance.choice(FILLERS) for _ in range(5)]
        colour = chance.choice(["red", "blue"])
        words[chance.randrange(4)] = colour
        found.append({"text": " ".join(words), "said": colour})
    return found


def spec(backbone: dict[str, Any]) -> dict[str, Any]:
    task = {"input": "say {text}", "output": "{said}", "columns": {"said": "text"}, "head": "generate"}
    return {
        "mmkit": 1,
        "modalities": {"text": {"adapter": {"use": "words", "vocab_size": 20}}},
        "backbone": backbone,
        "tasks": {"say": task},
        "train": {"stages": [{"name": "all", "steps": 80, "batch_size": 24, "lr": 5e-3}]},
    }


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("prefix", marks=pytest.mark.slow),
        pytest.param("encoder-decoder", marks=pytest.mark.slow),
        "causal-lm",
        "seq2seq-lm",
    ],
)
def learnt(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, list[dict[str, str]]]:
    """A model that writes the colour that is among the words, and rows."""
    folder, given = tmp_path_factory.mktemp("said"), rows()
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    made = spec(BACKBONES[request.param]) | {"data": {"train": [{"task": "say", "path": str(folder / "rows.jsonl")}]}}
    model = mmkit.train(made, output=folder / "model", say=lambda line: None)
    answers = model.predict("say", given[:40])
    assert sum(answer == row["said"] for answer, row in zip(answers, given, strict=False)) >= 38
    return model, given


def test_attention_finds_the_word_that_is_written(learnt: Any) -> None:
    """Of five words, by rollout nearly always; by gradients mostly, for other words may have read it before."""
    model, given = learnt
    hits = {"rollout": 0, "relevance": 0}
    for row in given[:20]:
        parts = mmkit.explain(model, "say", row, steps=1, attention=True).attention.columns["text"]
        for part in parts:
            assert part.pieces == tuple(row["text"].split())
            hits[part.key] += part.pieces[int(part.attribution.argmax())] == row["said"]
    assert hits["rollout"] >= 18, hits
    assert hits["relevance"] >= 10, hits


def test_shares_add_up_to_one(learnt: Any) -> None:
    model, given = learnt
    found = mmkit.explain(model, "say", given[0], steps=1, attention=True).attention
    for place, shares in enumerate([found.rollout, found.relevance]):
        assert sum(shares.values()) + sum(both[place] for both in found.rest.values()) == pytest.approx(1, abs=1e-5)
        assert shares["text"] == pytest.approx(
            sum(float(one.attribution.sum()) for one in found.columns["text"][place::2])
        )
    assert found.rest["template"][0] > 0.01
    assert found.rest["answer"][0] > 0.01


def test_other_weights_give_another_map(learnt: Any) -> None:
    """Adebayo et al. 2018."""
    model, given = learnt
    made = model.plan.spec.model_dump(mode="json", exclude_unset=True)
    other = mmkit.build(made, fit={"text": [row["text"] for row in given]}, seed=5)
    told = [
        torch.cat(
            [
                mmkit.explain(one, "say", row, target=row["said"], steps=1, attention=True)
                .attention.columns["text"][1]
                .attribution
                for row in given[:8]
            ]
        )
        for one in (model, other)
    ]
    assert abs(float(torch.corrcoef(torch.stack(told).double())[0, 1])) < 0.7


def test_the_answer_and_the_attributions_are_as_without(learnt: Any) -> None:
    model, given = learnt
    plain, looked = (mmkit.explain(model, "say", given[1], steps=4, attention=asked) for asked in (False, True))
    assert plain.attention is None
    assert (plain.answer, plain.score, plain.baseline) == (looked.answer, looked.score, looked.baseline)
    assert torch.equal(plain.columns[0].parts[0].attribution, looked.columns[0].parts[0].attribution)
    assert model.predict("say", given[1]) == plain.answer


def layer(weights: list[list[list[float]]], queries: list[int], keys: list[int]) -> Attended:
    return Attended(torch.tensor(weights), torch.tensor(queries), torch.tensor(keys))


def test_rollout_by_hand() -> None:
    """Two layers over two places, of two heads; the third place is what is no part of the sample."""
    first = layer([[[1.0, 0.0], [0.4, 0.6]], [[1.0, 0.0], [0.8, 0.2]]], [0, 1], [0, 1])
    second = layer([[[0.5, 0.5]]], [1], [-1, 0])
    found = rollout([first, second], 3)
    # row 1 after the first layer: ½·(0.6, 0.4) + ½·(0, 1) = (0.3, 0.7); after the second ½·that + ¼ of the last + ¼ of place 0
    expected = torch.tensor([[1.0, 0.0, 0.0], [0.15 + 0.25, 0.35, 0.25], [0.0, 0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=0)


def test_relevance_by_hand() -> None:
    """Equation 5 leaves out what speaks against the score, equation 6 adds layer upon layer."""
    first = layer([[[1.0, 0.0], [0.4, 0.6]], [[1.0, 0.0], [0.8, 0.2]]], [0, 1], [0, 1])
    gradient = torch.tensor([[[0.0, 0.0], [2.0, -1.0]], [[0.0, 0.0], [1.0, 1.0]]])
    second = layer([[[0.5, 0.5]]], [1], [0, 1])
    found = relevance([first, second], [gradient, torch.tensor([[[2.0, 4.0]]])], 3)
    # Ā₁ row 1 = ½·(0.8 + 0.8, 0 + 0.2) = (0.8, 0.1); R = (0.8, 1.1); Ā₂ row 1 = (1, 2): + 1·(1, 0) + 2·(0.8, 1.1); less itself
    expected = torch.tensor([0.8 + 1 + 1.6, 1.1 + 2.2 - 1, 0.0], dtype=torch.float64)
    torch.testing.assert_close(found[1], expected, atol=1e-6, rtol=0)
    assert not found[0].any()
    assert not found[2].any()


class Stack(SoftAdapter):
    """``of`` rows a token, the rest left out; or the mean of all in every token."""

    def __init__(self, of: int, mixed: bool = False) -> None:
        super().__init__()
        self.of, self.mixed, self.linear = of, mixed, nn.Linear(3 * of, 4)

    def num_tokens(self, num_features: int) -> int:
        return num_features // self.of

    def forward(self, features: Ragged) -> Ragged:
        rows = features.values[: self.num_tokens(len(features.values)) * self.of].reshape(-1, 3 * self.of)
        return Ragged.of([self.linear(rows + (rows.mean() if self.mixed else 0))])


@pytest.mark.parametrize(
    ("adapter", "expected"),
    [(Stack(1), [0, 1, 2, 3, 4, 5]), (Stack(2), [0, 0, 1, 1, 2, 2]), (Stack(4), None), (Stack(1, mixed=True), None)],
)
def test_tokens_have_the_places_of_the_rows_that_they_read(adapter: Stack, expected: list[int] | None) -> None:
    """Where each row goes into one token; else tokens have no places."""
    found = token_of_rows(adapter, torch.randn(6, 3))
    assert (None if found is None else found.tolist()) == expected


@pytest.mark.parametrize(
    ("backbone", "reads", "fault"),
    [
        (
            {"use": "lstm", "embedding_dim": 8, "hidden_dim": 8},
            "backbone",
            "its backbone text/lstm has none to show (one that has it has the method watched of mmkit.Attentive)",
        ),
        (
            {"use": "none", "dim": 8},
            "backbone",
            "its backbone text/none has none to show (one that has it has the method watched of mmkit.Attentive)",
        ),
        (None, "image.encoder", "it reads image.encoder, and no backbone"),
    ],
)
def test_a_model_without_attention_says_so(backbone: Any, reads: str, fault: str, tmp_path: Path) -> None:
    import numpy as np

    made = {
        "mmkit": 1,
        "modalities": {
            "image": {
                "encoder": {"use": "cnn", "image_size": 8, "in_channels": 1, "channels": [8], "features": "pooled"}
            },
            "text": {"adapter": {"use": "words", "vocab_size": 20}},
        },
        "backbone": backbone,
        "tasks": {
            "say": {
                "input": "{text}" if backbone else "{image}",
                "output": "{label}",
                "reads": reads,
                "head": {"use": "classify", "labels": ["a", "b"]},
            }
        },
    }
    if backbone is None:
        made.pop("backbone")
        made["modalities"].pop("text")
    else:
        made["modalities"].pop("image")
    model = mmkit.build(made, fit={"text": FILLERS} if backbone else None)
    row = {"text": "it was"} if backbone else {"image": np.zeros((8, 8, 3), np.uint8)}
    with pytest.raises(mmkit.MmkitError) as caught:
        mmkit.explain(model, "say", row, attention=True)
    assert str(caught.value) == f"attention of task 'say' cannot be shown: {fault}; fix: leave attention out"
