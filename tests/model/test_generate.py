"""Generation through ``predict``: equal to transformers where it can be compared, and the same alone and in a batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

import mmkit
from mmkit.model import decoder

END = 1
LETTERS = "abcdefghij"
LLAMA = {
    "model_type": "llama",
    "vocab_size": 12,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "pad_token_id": 0,
    "eos_token_id": END,
}
ROWS = [{"text": text} for text in ("a b c", "d", "e f g h i j a", "b b")]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One id a letter; one token, 1, begins and ends a text, as in GPT-2."""
    made = Tokenizer(models.WordLevel({"?": 0, "<end>": END, **{c: n + 2 for n, c in enumerate(LETTERS)}}, "?"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


def build(tokenizer: Path, seed: int, backbone: dict[str, Any] | None = None, spread: float = 0.3) -> mmkit.Model:
    """A model with enough spread in its weights that texts differ, some of them ending early."""
    spec = {
        "mmkit": 1,
        "modalities": {
            "text": {"adapter": {"use": "tokenizer", "path": str(tokenizer), "begin": "<end>", "end": "<end>"}}
        },
        "backbone": backbone or {"use": "causal-lm", "config": LLAMA},
        "tasks": {"go": {"input": "{text}", "output": "{text}", "head": {"use": "generate", "max_new_tokens": 10}}},
    }
    model = mmkit.build(spec, seed=seed).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * spread)
    return model


def by_transformers(model: mmkit.Model, **options: Any) -> list[str]:
    """``generate`` of transformers after each prompt and the begin token, one prompt at a time."""
    vocabulary, lm, texts = model.vocabularies["text"], model.backbones["backbone"].lm, []
    for row in ROWS:
        ids = torch.tensor([[*vocabulary.encode(row["text"]), END]])
        options = {"max_new_tokens": 10, "do_sample": False, "pad_token_id": 0, **options}
        texts.append(vocabulary.decode(lm.generate(ids, **options)[0, ids.shape[1] :].tolist()))
    return texts


@pytest.mark.parametrize("seed", range(4))
def test_greedy_equals_transformers(tokenizer: Path, seed: int) -> None:
    model = build(tokenizer, seed)
    assert model.predict("go", ROWS) == by_transformers(model)


@pytest.mark.parametrize(("beams", "penalty"), [(2, 0.0), (3, 1.0), (4, 2.0), (5, -1.0)])
@pytest.mark.parametrize("seed", range(3))
def test_beam_search_equals_transformers(tokenizer: Path, seed: int, beams: int, penalty: float) -> None:
    model = build(tokenizer, seed)
    expected = by_transformers(model, num_beams=beams, length_penalty=penalty, early_stopping=True)
    assert model.predict("go", ROWS, beams=beams, length_penalty=penalty) == expected


OTHERS: dict[str, dict[str, Any]] = {
    "causal-lm": {"use": "causal-lm", "config": LLAMA},
    "lstm": {"use": "lstm", "embedding_dim": 16, "hidden_dim": 16},
    "decoder": {"use": "transformer", "dim": 16, "layers": 1, "heads": 2},
    "encoder-decoder": {"use": "transformer", "dim": 16, "layers": 1, "heads": 2, "form": "encoder-decoder"},
}


@pytest.mark.parametrize("backbone", OTHERS)
@pytest.mark.parametrize(
    "options",
    [{}, {"beams": 3}, {"beams": 4, "length_penalty": 0.0}, {"temperature": 1.0}, {"temperature": 0.7, "top_k": 4}],
    ids=str,
)
def test_a_text_is_the_same_alone_and_in_a_batch(tokenizer: Path, backbone: str, options: dict[str, Any]) -> None:
    model = build(tokenizer, 0, OTHERS[backbone], spread=0.6)
    together = model.predict("go", ROWS, **options)
    assert together == [model.predict("go", row, **options) for row in ROWS]


def test_the_seed_decides_what_is_sampled(tokenizer: Path) -> None:
    model = build(tokenizer, 0)

    def sampled(seed: int) -> Any:
        return model.predict("go", ROWS, temperature=1.5, seed=seed)

    assert sampled(1) == sampled(1)
    assert len({tuple(sampled(seed)) for seed in range(4)}) == 4


def test_sampling_among_one_id_is_greedy(tokenizer: Path) -> None:
    model = build(tokenizer, 1)
    greedy = model.predict("go", ROWS)
    assert model.predict("go", ROWS, temperature=1.0, top_k=1) == greedy
    assert model.predict("go", ROWS, temperature=1.0, top_p=1e-6) == greedy
    assert model.predict("go", ROWS, temperature=1e-4) == greedy


@pytest.mark.parametrize(("top_k", "top_p"), [(None, None), (3, None), (None, 0.6), (5, 0.8), (50, 1.0)])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_what_is_sampled_from_is_that_of_transformers(
    monkeypatch: pytest.MonkeyPatch, top_k: int | None, top_p: float | None, temperature: float
) -> None:
    scores = torch.randn(6, 12, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    warpers += [TopKLogitsWarper(top_k)] if top_k is not None else []
    warpers += [TopPLogitsWarper(top_p)] if top_p is not None else []
    expected = warpers(torch.zeros(6, 1, dtype=torch.int64), scores.clone()).softmax(-1)
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(decoder.torch, "multinomial", lambda row, *_, **__: (seen.append(row), torch.zeros(1))[1])
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    decoder.draw(scores, options, [torch.Generator() for _ in range(6)])
    torch.testing.assert_close(torch.stack(seen), expected)


def test_the_end_stops_a_text_and_max_new_tokens_all_of_them(tokenizer: Path) -> None:
    model = build(tokenizer, 0)
    backbone = model.backbones["backbone"]
    with torch.no_grad():
        backbone.lm.lm_head.weight.zero_()
        backbone.lm.lm_head.weight[END] = 0.0
    scores = torch.full((12,), -1.0)
    for winner, expected in ((END, ""), (4, "c c c")):
        scores[:] = -1.0
        scores[winner] = 1.0
        backbone.logits = lambda hidden, row=scores: row.expand(len(hidden), 12)  # type: ignore[method-assign,misc]
        for options in ({}, {"beams": 2}, {"temperature": 1e-3}):
            assert model.predict("go", ROWS[0], max_new_tokens=3, **options) == expected


def test_the_begin_id_is_never_generated(mood: dict[str, Any]) -> None:
    mood["tasks"] = {"go": {"input": "{text}", "output": "{text}", "head": {"use": "generate", "max_new_tokens": 5}}}
    mood["data"] = None
    model = mmkit.build(mood, fit={"text": ["one two"]})
    begin = model.vocabularies["text"].begin_id
    backbone = model.backbones["backbone"]
    likely = torch.zeros(50)
    likely[begin], likely[3] = 9.0, 5.0
    backbone.logits = lambda hidden: likely.expand(len(hidden), 50).clone()  # type: ignore[method-assign]
    assert model.predict("go", {"text": "one"}) == "one one one one one"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 3}, "unknown decoding option 'beam': did you mean 'beams'?"),
        ({"beams": 0}, "decoding option 'beams' is a whole number above 0, got 0"),
        ({"beams": 1.5}, "decoding option 'beams' is a whole number above 0, got 1.5"),
        ({"beams": None}, "decoding option 'beams' is a whole number above 0, got None"),
        ({"max_new_tokens": "7"}, "decoding option 'max_new_tokens' is a whole number above 0, or None, got '7'"),
        ({"temperature": -1}, "decoding option 'temperature' is a number, 0 or more, got -1"),
        ({"temperature": float("nan")}, "decoding option 'temperature' is a number, 0 or more, got nan"),
        ({"top_k": True}, "decoding option 'top_k' is a whole number above 0, or None, got True"),
        ({"top_p": 1.5}, "decoding option 'top_p' is a number above 0, at most 1, or None, got 1.5"),
        ({"length_penalty": float("inf")}, "decoding option 'length_penalty' is a number, got inf"),
        ({"seed": 0.5}, "decoding option 'seed' is a whole number, got 0.5"),
        (
            {"beams": 2, "temperature": 1.0},
            "decoding options beams > 1 and temperature > 0 exclude each other: beam search does not sample",
        ),
    ],
    ids=str,
)
def test_decoding_options_are_checked(tokenizer: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(mmkit.MmkitError) as caught:
        build(tokenizer, 0).predict("go", ROWS, **options)
    assert str(caught.value) == message
