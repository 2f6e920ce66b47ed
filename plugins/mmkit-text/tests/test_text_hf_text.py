"""``hf-text``: the same features as transformers with sentence pooling, rebuilt from its assets alone."""

import argparse
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmkit_text import hf_text
from mmkit_text.encoder_config import HfTextConfig
from mmkit_text.hf_text import HfText
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from mmkit import BuildContext, PluginError, Ragged, SampleError
from mmkit.wiring.empty import empty_weights

LINES = [line for line in Path(argparse.__file__).read_text("utf-8").splitlines() if line][:200]
TEXTS = [LINES[0], "", LINES[7], "[SEP] is text </s>", " ".join(LINES[:60])]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
KINDS: dict[str, dict[str, Any]] = {
    "bert": {**SMALL, "max_position_embeddings": 40},
    "roberta": {**SMALL, "max_position_embeddings": 42, "pad_token_id": 1},
    "mpnet": {**SMALL, "max_position_embeddings": 42, "pad_token_id": 1},
    "distilbert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 40},
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2},
}


def make_tokenizer() -> PreTrainedTokenizerFast:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["<s>", "[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    made.train_from_iterator(
        LINES, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]"
    )


def save(folder: Path, kind: str) -> Path:
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    model = AutoModel.from_config(AutoConfig.for_model(kind, **{"vocab_size": len(tokenizer), **KINDS[kind]}))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=list(KINDS))
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("bert"), "bert")


def build(context: BuildContext | None = None, **options: Any) -> HfText:
    settings = HfTextConfig(**options)
    given = {name: getattr(settings, name) for name in HfTextConfig.model_fields}
    return hf_text.build(context or BuildContext(), **given).eval()


def run(encoder: HfText, texts: list[str]) -> Ragged:
    processor = encoder.processor()
    items = [processor(text) for text in texts]
    given: Ragged = encoder(processor.collate(items))
    assert given.sizes == [processor.num_features(item) for item in items]
    return given


@pytest.mark.parametrize("features", ["tokens", "mean", "cls"])
def test_features_are_those_of_transformers(source: Path, features: str) -> None:
    encoder = build(path=source, features=features, normalise=True)
    tokenizer, model = PreTrainedTokenizerFast.from_pretrained(source), AutoModel.from_pretrained(source).eval()
    theirs = tokenizer(
        ["plain text", *[TEXTS[i] for i in (0, 1, 2, 4)]],
        padding=True,
        truncation=True,
        max_length=encoder.prepared.max_length,
        return_tensors="pt",
    )
    mask = theirs["attention_mask"]
    reader = model.get_encoder() if model.config.is_encoder_decoder else model
    hidden = reader(input_ids=theirs["input_ids"], attention_mask=mask).last_hidden_state
    expected = hidden[mask.bool()]
    if features == "mean":
        expected = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    if features == "cls":
        expected = hidden[:, 0]
    given = run(encoder, ["plain text", *[TEXTS[i] for i in (0, 1, 2, 4)]])
    torch.testing.assert_close(given.values, functional.normalize(expected, dim=-1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("features", ["tokens", "mean", "cls"])
def test_alone_and_in_a_batch(source: Path, features: str) -> None:
    encoder = build(path=source, features=features)
    for text, rows in zip(TEXTS, run(encoder, TEXTS).split(), strict=True):
        torch.testing.assert_close(run(encoder, [text]).values, rows, atol=1e-5, rtol=0)


def test_special_text_is_plain_and_specials_are_added(bert: Path) -> None:
    processor = build(path=bert).processor()
    ids = processor("[SEP] a [CLS] <s>")["ids"].tolist()
    assert (ids[0], ids[-1]) == (2, 3)
    assert {0, 1, 2, 3}.isdisjoint(ids[1:-1])
    assert processor("")["ids"].tolist() == [2, 3]


def test_saved_and_rebuilt_after_the_originals_are_gone(source: Path, tmp_path: Path) -> None:
    copy, assets = tmp_path / "copy", tmp_path / "assets"
    shutil.copytree(source, copy)
    assets.mkdir()
    encoder = build(path=copy, features="mean", max_length=20)
    encoder.save_assets(assets)
    shutil.rmtree(copy)
    with empty_weights():
        again = build(BuildContext(assets=assets, load_weights=False), path=copy, features="mean", max_length=20)
    assert all(parameter.is_meta for parameter in again.parameters())
    assert not any(buffer.is_meta for buffer in again.buffers())
    again.load_state_dict(encoder.state_dict(), assign=True)
    assert again.prepared.max_length == 20
    torch.testing.assert_close(run(again, TEXTS).values, run(encoder, TEXTS).values, atol=0, rtol=0)


def test_gradients_reach_every_parameter(source: Path) -> None:
    encoder = build(path=source).train()
    run(encoder, TEXTS).values.square().sum().backward()
    missing = [
        name for name, p in encoder.named_parameters() if p.grad is None or not bool(torch.isfinite(p.grad).all())
    ]
    assert missing == []


def test_max_length_is_the_models_positions(bert: Path, tmp_path: Path) -> None:
    assert build(path=bert).prepared.max_length == 40
    root = save(tmp_path, "roberta")
    assert build(path=root).prepared.max_length == 40  # 42 places, of which padding leaves out two
    (root / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12}))
    encoder = build(path=root)
    assert encoder.prepared.max_length == 12
    ids = encoder.processor()(" ".join(LINES))["ids"]
    assert (ids.shape[0], int(ids[-1])) == (12, 3)
    for given, message in (
        (41, "max_length 41, but the model has 40 positions; give at most 40"),
        (2, "max_length 2, but 2 ids are put around every text; give more than 2"),
    ):
        with pytest.raises(PluginError) as caught:
            build(path=root, max_length=given)
        assert str(caught.value) == message


def test_from_a_config_with_a_vocabulary_of_ones_own(tmp_path: Path) -> None:
    config = {"model_type": "bert", **SMALL}
    encoder = build(config=config, vocabulary={"use": "bpe", "vocab_size": 300}, features="cls")
    assert not encoder.fitted
    encoder.fit(LINES)
    assert encoder.processor()("")["ids"].tolist() == [0, 1]
    expected = run(encoder, TEXTS).values
    encoder.save_assets(tmp_path)
    again = build(
        BuildContext(assets=tmp_path, load_weights=False),
        config=config,
        vocabulary={"use": "bpe", "vocab_size": 300},
        features="cls",
    )
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(run(again, TEXTS).values, expected)


def test_a_pooled_text_without_ids_is_an_error(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.Sequence([])
    save(tmp_path, "bert")
    tokenizer.save_pretrained(tmp_path)
    encoder = build(path=tmp_path, features="mean")
    with pytest.raises(SampleError) as caught:
        encoder.processor()("  ")
    assert str(caught.value) == "text '  ' has no tokens, so there is nothing to pool; leave such rows out"
    assert run(build(path=tmp_path), ["", LINES[0], ""]).sizes[::2] == [0, 0]
    with pytest.raises(PluginError) as error:
        build(path=tmp_path, features="cls")
    assert str(error.value) == "features: cls, but the tokenizer puts nothing before a text; use features: mean"


def test_errors_of_architectures(bert: Path, tmp_path: Path) -> None:
    words = {"use": "words", "vocab_size": 50}
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"config": {"model_type": "bret"}, "vocabulary": words},
            "config.model_type 'bret' is unknown to transformers; did you mean 'bert'?",
        ),
        (
            {"config": {"model_type": "bert", "hiden_size": 8}, "vocabulary": words},
            "config.hiden_size: the architecture 'bert' has no such setting; did you mean 'hidden_size'?",
        ),
        (
            {"config": {"model_type": "bert", "vocab_size": 20, **SMALL}, "vocabulary": words},
            "the vocabulary has 50 ids, the model 'bert' only 20; use the model's own vocabulary, or set vocab_size in config",
        ),
        (
            {"path": tmp_path, "vocabulary": words},
            f"{str(tmp_path)!r} has no config.json; wanted a folder in the hub's form",
        ),
    ]
    for options, message in cases:
        with pytest.raises(PluginError) as caught:
            build(**options)
        assert str(caught.value) == message
    shutil.copytree(bert, tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").unlink()
    with pytest.raises(PluginError, match=r"^the weights of '.*broken' cannot be read \(OSError: "):
        build(path=tmp_path / "broken")


def test_the_processor_is_a_plain_object(bert: Path) -> None:
    processor = pickle.loads(pickle.dumps(build(path=bert).processor()))
    assert processor("a text")["ids"].tolist()[0] == 2
    with pytest.raises(SampleError) as caught:
        processor(None)
    assert str(caught.value) == "text must be a str, got NoneType"


def test_a_name_on_the_hub(bert: Path, tmp_path: Path) -> None:
    """From the hub's local cache, offline."""
    cache = tmp_path / "models--me--tiny"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("abc")
    shutil.copytree(bert, cache / "snapshots" / "abc")
    code = (
        "import mmkit\n"
        "from mmkit import BuildContext\n"
        "from mmkit_text import hf_text, tokenizer\n"
        "options = dict(path=None, config=None, vocabulary=None, features='tokens', normalise=False, max_length=None)\n"
        "processor = hf_text.build(BuildContext(), hub='me/tiny', **options).processor()\n"
        "print(processor('a text')['ids'].tolist(), processor.max_length)\n"
        "try:\n"
        "    tokenizer.build(BuildContext(), path=None, hub='me/none', max_length=None, begin=None, end=None)\n"
        "except mmkit.PluginError as error:\n"
        "    print(error)\n"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    processor = build(path=bert).processor()
    assert first == f"{processor('a text')['ids'].tolist()} 40"
    assert second.startswith(
        "'me/none': no tokenizer.json can be had, and transformers finds no other tokenizer there (OSError: "
    )
