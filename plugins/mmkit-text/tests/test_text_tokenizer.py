"""``tokenizer``: the same ids as the library, but no text ever becomes a special token."""

import argparse
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
from mmkit_text import tokenizer
from mmkit_text.config import TokenizerConfig
from mmkit_text.tokenizer import PretrainedTokenizer
from pydantic import ValidationError
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from mmkit import BuildContext, PluginError, SampleError

LINES = Path(argparse.__file__).read_text("utf-8").splitlines()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<s>", "</s>", "<|endoftext|>"]
HOSTILE = ["<|endoftext|>", "a </s><s> b", "[CLS] x [SEP]", "<image>", "[PAD][UNK]", "see <think> there", "</s>"]


def bpe() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([*LINES, *["a </s> <think>"] * 500], trainer)
    return made


def unigram() -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.normalizer, made.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=SPECIAL, unk_token="[UNK]", show_progress=False, initial_alphabet=list("</>[]|")
    )
    made.train_from_iterator(LINES, trainer)
    return made


def wordpiece() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=SPECIAL, show_progress=False)
    made.train_from_iterator(LINES, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def words() -> Tokenizer:
    made = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.train_from_iterator(LINES, trainers.WordLevelTrainer(special_tokens=SPECIAL, show_progress=False))
    return made


MAKERS = {"bpe": bpe, "unigram": unigram, "wordpiece": wordpiece, "words": words}


def folder(root: Path, made: Tokenizer, settings: dict[str, Any] | None = None, config: Any = None) -> Path:
    made.add_tokens([AddedToken("<think>"), AddedToken("<image>", special=True)])
    made.enable_truncation(8)
    made.enable_padding(length=8)
    made.save(str(root / "tokenizer.json"))
    said = {"bos_token": "<s>", "eos_token": {"content": "</s>"}} if settings is None else settings
    (root / "tokenizer_config.json").write_text(json.dumps(said))
    if config is not None:
        (root / "config.json").write_text(json.dumps(config))
    return root


def build(context: BuildContext | None = None, **options: Any) -> PretrainedTokenizer:
    settings = TokenizerConfig(**options)
    return tokenizer.build(context or BuildContext(), **{n: getattr(settings, n) for n in TokenizerConfig.model_fields})


@pytest.mark.parametrize("kind", MAKERS)
def test_plain_text_has_the_ids_of_transformers(kind: str, tmp_path: Path) -> None:
    made = build(path=folder(tmp_path, MAKERS[kind]()))
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    for text in [*LINES[:200], "naïve 日本 🙂", ""]:
        expected = theirs(text, add_special_tokens=False, truncation=False, padding=False)["input_ids"]
        assert made.encode(text) == expected
        ids = [i for i in expected if i not in made.special_ids]
        assert made.decode([made.begin_id, *expected, made.end_id]) == Tokenizer.from_str(made.text).decode(ids)


@pytest.mark.parametrize("kind", MAKERS)
def test_special_text_stays_plain(kind: str, tmp_path: Path) -> None:
    made = build(path=folder(tmp_path, MAKERS[kind]()))
    unknown = made._whole.token_to_id("[UNK]")
    structure = {made._whole.token_to_id(t) for t in [*SPECIAL, "<think>", "<image>"]} - {unknown}
    assert structure - {made._whole.token_to_id("<think>")} == made.special_ids - {unknown}
    for text in HOSTILE:
        ids = made.encode(text)
        assert ids
        assert structure.isdisjoint(ids), (text, [made._whole.id_to_token(i) for i in ids])
        if kind == "bpe":
            assert made.decode(ids) == text


@pytest.mark.parametrize("kind", ["unigram", "words"])
def test_the_library_alone_would_find_special_tokens_in_text(kind: str) -> None:
    """Why reserved tokens are renamed: if this fails one day, the renaming can go."""
    library = MAKERS[kind]()
    library.encode_special_tokens = True
    assert library.token_to_id("</s>") in library.encode("</s>", add_special_tokens=False).ids


def test_noncharacters_that_hide_special_tokens_are_refused(tmp_path: Path) -> None:
    made = build(path=folder(tmp_path, words()))
    number = made.settings.reserved.index("</s>")
    with pytest.raises(SampleError) as caught:
        made.encode(f"a \ufdd0{number}\ufdd1")
    assert str(caught.value) == "text has the noncharacters U+FDD0 and U+FDD1 around a number; remove them"


BEGIN_END: list[tuple[dict[str, Any], dict[str, Any] | None, tuple[str, str]]] = [
    ({"bos_token": "<s>", "eos_token": "</s>"}, None, ("<s>", "</s>")),
    ({"bos_token": "<s>", "eos_token": "</s>"}, {"decoder_start_token_id": 0}, ("[PAD]", "</s>")),
    ({"bos_token": None, "eos_token": "<|endoftext|>"}, {"bos_token_id": 6}, ("<|endoftext|>", "<|endoftext|>")),
    ({"cls_token": "[CLS]", "sep_token": "[SEP]"}, None, ("[CLS]", "[SEP]")),
    ({}, {"bos_token_id": 4, "eos_token_id": [5, 6]}, ("<s>", "</s>")),
    ({}, {"text_config": {"bos_token_id": 2, "eos_token_id": 3}}, ("[CLS]", "[SEP]")),
    ({}, None, ("<s>", "</s>")),
]


@pytest.mark.parametrize(("settings", "config", "expected"), BEGIN_END)
def test_begin_and_end_are_those_the_files_name(
    tmp_path: Path, settings: dict[str, Any], config: dict[str, Any] | None, expected: tuple[str, str]
) -> None:
    made = build(path=folder(tmp_path, bpe(), settings, config))
    assert (made._whole.id_to_token(made.begin_id), made._whole.id_to_token(made.end_id)) == expected
    assert {made.begin_id, made.end_id} <= made.special_ids


def test_begin_and_end_may_be_given(tmp_path: Path) -> None:
    made = build(path=folder(tmp_path, bpe()), begin="[CLS]", end="<think>")
    assert (made.begin_id, made.end_id) == (2, made._whole.token_to_id("<think>"))
    assert made.decode([2, *made.encode("a <think>"), made.end_id]) == "a <think>"
    with pytest.raises(PluginError) as caught:
        build(path=tmp_path, begin="<|endoftxt|>")
    assert str(caught.value) == (
        f"begin: the tokenizer {str(tmp_path)!r} has no token '<|endoftxt|>'; did you mean '<|endoftext|>'?"
    )


def test_no_begin_is_an_error_with_the_fix(tmp_path: Path) -> None:
    made = Tokenizer(models.WordLevel({"a": 0, "[U]": 1}, unk_token="[U]"))
    made.save(str(tmp_path / "t.json"))
    with pytest.raises(PluginError) as caught:
        build(path=tmp_path / "t.json")
    assert str(caught.value) == (
        f"the tokenizer {str(tmp_path / 't.json')!r} names no begin token: no bos_token in tokenizer_config.json, no "
        "bos_token_id in config.json and none of the usual names; give one of its tokens, begin: …"
    )


def test_files_that_are_no_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(PluginError) as caught:
        build(path=tmp_path / "tokeniser.json")
    assert str(caught.value) == (
        f"tokenizer {str(tmp_path / 'tokeniser.json')!r}: no such file or folder; did you mean 'tokenizer.json'?"
    )
    with pytest.raises(PluginError, match=r"^'.*' is no tokenizer\.json that can be read \(.*\)$"):
        build(path=tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(PluginError) as caught:
        build(path=tmp_path)
    assert str(caught.value) == f"{str(tmp_path / 'tokenizer_config.json')!r} is not a JSON object but a list"
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        PluginError, match=r": no tokenizer\.json can be had, and transformers finds no other tokenizer there \("
    ):
        build(path=tmp_path / "empty")


def test_an_older_form_is_converted(tmp_path: Path) -> None:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "dog", "##s", "run", "[", "]", "c", "##l", "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(dict.fromkeys(vocabulary)))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    made = build(path=tmp_path)
    assert (made.begin_id, made.end_id, made.prefix, made.suffix) == (2, 3, (2,), (3,))
    assert made.encode("The dogs run") == [5, 6, 7, 8]
    assert made.special_ids == {0, 1, 2, 3, 4}


def test_truncation_of_the_file_is_off_and_max_length_cuts(tmp_path: Path) -> None:
    root, text = folder(tmp_path, bpe()), " ".join(LINES[:20])
    whole = build(path=root).encode(text)
    assert len(whole) > 100
    assert build(path=root, max_length=5).encode(text) == whole[:5]


def test_wrong_values(tmp_path: Path) -> None:
    made = build(path=folder(tmp_path, bpe()))
    with pytest.raises(SampleError) as caught:
        made.encode(3.5)
    assert str(caught.value) == "text must be a str, got float"
    with pytest.raises(SampleError) as caught:
        made.encode("ab\ud800")
    assert str(caught.value) == (
        "text has half a surrogate pair, U+D800, at character 2, which is no Unicode text; "
        "read its file with errors='replace'"
    )


@pytest.mark.parametrize("kind", MAKERS)
def test_assets_and_pickle_need_no_files(kind: str, tmp_path: Path) -> None:
    source, assets = tmp_path / "source", tmp_path / "assets"
    source.mkdir()
    assets.mkdir()
    made = build(path=folder(source, MAKERS[kind]()), max_length=7, begin="[CLS]")
    made.save_assets(assets)
    shutil.rmtree(source)
    again = build(BuildContext(assets=assets, load_weights=False), path=source)
    for other in (again, pickle.loads(pickle.dumps(made))):
        assert (other.settings, other.size) == (made.settings, made.size)
        for text in [*HOSTILE, *LINES[:20]]:
            assert other.encode(text) == made.encode(text)


def test_size_covers_the_highest_id(tmp_path: Path) -> None:
    made = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "a": 9}, unk_token="<s>"))
    made.save(str(tmp_path / "t.json"))
    assert build(path=tmp_path / "t.json").size == 10


def test_one_source_is_given(tmp_path: Path) -> None:
    for options in ({}, {"path": tmp_path, "hub": "a/b"}):
        with pytest.raises(ValidationError, match="give exactly one of path and hub"):
            TokenizerConfig(**options)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_pieces_are_what_ids_spell(kind: str, tmp_path: Path) -> None:
    made = build(path=folder(tmp_path, MAKERS[kind]()))
    pieces = made.pieces()
    assert len(pieces) == made.size
    assert [i for i in made.special_ids if pieces[i] is not None] == []
    for text in [*LINES[:50], "naïve 日本 🙂 <think>"]:
        ids = [i for i in made.encode(text) if i not in made.special_ids]
        assert b"".join(pieces[i] or b"" for i in ids).decode() in (made.decode(ids), f" {made.decode(ids)}")


@pytest.mark.parametrize(("kind", "how"), [("wordpiece", "WordPiece"), ("words", "joining with spaces")])
def test_tokens_that_are_not_written_one_after_another_have_no_pieces(kind: str, how: str, tmp_path: Path) -> None:
    made = build(path=folder(tmp_path, MAKERS[kind]()))
    with pytest.raises(PluginError) as refused:
        made.pieces()
    assert str(refused.value) == (
        f"what the ids of this tokenizer spell is not known: it decodes by {how}; "
        "known are byte-level BPE and sentencepiece"
    )
