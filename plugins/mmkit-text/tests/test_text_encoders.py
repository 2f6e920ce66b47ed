"""The from-scratch encoders: alone = in a batch, a learnt vocabulary, saved and rebuilt."""

import argparse
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from mmkit_text import recurrent_encoder, transformer_encoder
from mmkit_text.encoder_config import RecurrentConfig, TransformerEncoderConfig
from mmkit_text.text_encoder import TextEncoder
from torch.nn import functional

import mmkit
from mmkit import BuildContext, Config, Ragged, SampleError
from mmkit.wiring.empty import empty_weights

LINES = [line for line in Path(argparse.__file__).read_text("utf-8").splitlines() if line][:300]
SMALL: dict[str, dict[str, Any]] = {
    "lstm": {"embedding_dim": 12, "hidden_dim": 10, "layers": 2},
    "gru": {"embedding_dim": 12, "hidden_dim": 10, "bidirectional": False},
    "transformer": {"dim": 16, "layers": 2, "heads": 2},
    "learned": {"dim": 16, "layers": 1, "heads": 2, "positions": "learned", "max_length": 40},
}
VOCABULARIES: list[dict[str, Any]] = [
    {"use": "bpe", "vocab_size": 300},
    {"use": "words", "vocab_size": 200},
    {"use": "characters"},
]


def make(name: str, vocabulary: dict[str, Any], context: BuildContext | None = None, **more: Any) -> TextEncoder:
    torch.manual_seed(0)
    options = {"vocabulary": vocabulary, **SMALL[name], **more}
    recurrent = name in ("lstm", "gru")
    config: Config = RecurrentConfig(**options) if recurrent else TransformerEncoderConfig(**options)
    builder: Any = getattr(recurrent_encoder, f"build_{name}") if recurrent else transformer_encoder.build
    given = {field: getattr(config, field) for field in type(config).model_fields}
    built: TextEncoder = builder(context or BuildContext(), **given)
    return built


def fitted(name: str, vocabulary: dict[str, Any] | None = None, **more: Any) -> TextEncoder:
    encoder = make(name, vocabulary or VOCABULARIES[0], **more)
    assert not encoder.fitted
    encoder.fit(iter(LINES))
    return encoder.eval()


def run(encoder: TextEncoder, texts: list[str]) -> Ragged:
    processor = encoder.processor()
    items = [processor(text) for text in texts]
    given: Ragged = encoder(processor.collate(items))
    assert given.sizes == [processor.num_features(item) for item in items]
    assert given.values.shape[1] == encoder.feature_dim
    return given


@pytest.mark.parametrize("name", SMALL)
def test_alone_and_in_a_batch(name: str) -> None:
    encoder = fitted(name)
    texts = ["", LINES[3], "x", LINES[10] * 3, ""]
    together = run(encoder, texts)
    for text, rows in zip(texts, together.split(), strict=True):
        torch.testing.assert_close(run(encoder, [text]).values, rows, atol=1e-5, rtol=0)
    assert together.sizes[0] == 0
    assert run(encoder, ["", ""]).sizes == [0, 0]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=lambda v: v["use"])
def test_saved_and_rebuilt_without_weights(name: str, vocabulary: dict[str, Any], tmp_path: Path) -> None:
    encoder = fitted(name, vocabulary)
    encoder.save_assets(tmp_path)
    with empty_weights():
        again = make(name, vocabulary, BuildContext(assets=tmp_path, load_weights=False))
    assert all(parameter.is_meta for parameter in again.parameters())
    assert again.fitted
    again.load_state_dict(encoder.state_dict(), assign=True)
    texts = [LINES[2], "new words, unseen: żółw", LINES[5]]
    assert torch.equal(run(again.eval(), texts).values, run(encoder, texts).values)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_reach_every_parameter(name: str) -> None:
    encoder = fitted(name).train()
    run(encoder, ["", *LINES[:4]]).values.square().sum().backward()
    for key, parameter in encoder.named_parameters():
        assert parameter.grad is not None, key
        assert bool(torch.isfinite(parameter.grad).all())
        assert bool(parameter.grad.any()), key


@pytest.mark.parametrize("name", SMALL)
def test_the_processor_is_a_plain_object(name: str) -> None:
    processor = pickle.loads(pickle.dumps(fitted(name).processor()))
    assert not processor.strings_are_paths
    assert processor(LINES[3])["ids"].dtype == torch.int64
    with pytest.raises(SampleError) as caught:
        processor(["a"])
    assert str(caught.value) == "text must be a str, got list"


@pytest.mark.parametrize("name", ["learned", "transformer", "lstm"])
def test_long_texts_are_cut_at_max_length(name: str) -> None:
    encoder = fitted(name, max_length=7)
    text = " ".join(LINES)
    ids = encoder.processor()(text)["ids"]
    assert torch.equal(ids, torch.tensor(encoder.vocabulary.encode(text)[:7]))
    assert run(encoder, [text]).sizes == [7]


def test_the_table_has_the_rows_of_the_learnt_vocabulary() -> None:
    for name in ("lstm", "transformer"):
        encoder = make(name, {"use": "characters"})
        table: Any = encoder.table
        assert table.weight.shape[0] == 512
        encoder.fit(["abc"])
        table = encoder.table
        assert table.weight.shape[0] == encoder.vocabulary.size == 6


@pytest.mark.parametrize("name", ["transformer", "learned"])
def test_order_matters_and_both_sides_are_seen(name: str) -> None:
    encoder = fitted(name, {"use": "characters"})
    one, other = run(encoder, ["abca", "acba"]).split()
    assert not torch.allclose(one[0], other[0], atol=1e-3)  # only later ids differ
    assert not torch.allclose(one[3], other[3], atol=1e-3)  # only earlier ids differ


def test_lstm_is_torchs_over_one_text() -> None:
    encoder: Any = fitted("lstm")
    ids = encoder.processor()(LINES[3])["ids"]
    expected, _ = encoder.layers(functional.embedding(ids, encoder.table.weight)[None])
    torch.testing.assert_close(run(encoder, [LINES[0], LINES[3]]).split()[1], expected[0], atol=1e-6, rtol=0)


def test_in_a_whole_model(tmp_path: Path) -> None:
    spec = {
        "mmkit": 1,
        "modalities": {"text": {"encoder": {"use": "gru", "vocabulary": {"use": "text/bpe", "vocab_size": 300}}}},
        "tasks": {
            "kind": {"input": "{text}", "output": "{label}", "head": {"use": "classify", "labels": ["comment", "code"]}}
        },
    }
    nodes = {row.node: row for row in mmkit.check(spec)}
    assert nodes["text.encoder"].width == 256
    model = mmkit.build(spec, fit={"text": LINES}).eval()
    samples = [{"text": text} for text in (LINES[0], "", LINES[4])]
    expected = model.predict("kind", samples)
    model.save(tmp_path / "model")
    assert mmkit.load(tmp_path / "model").predict("kind", samples) == expected
    with pytest.raises(mmkit.SpecError, match="learns from data, and has seen none"):
        mmkit.build(spec)
