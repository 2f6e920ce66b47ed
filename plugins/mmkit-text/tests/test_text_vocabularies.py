"""``bpe``, ``characters`` and ``words``: learnt from data, exact, deterministic."""

import argparse
import pickle
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from mmkit_text import bpe, characters, words
from mmkit_text.bpe import Bpe
from mmkit_text.characters import Characters
from mmkit_text.config import BpeConfig, CharactersConfig, WordsConfig
from mmkit_text.words import Words

from mmkit import BuildContext, DataError, SampleError

LINES = Path(argparse.__file__).read_text("utf-8").splitlines()
TEXTS = ["", " ", "a\r\n\tb  c", "naïve 日本 🙂 \x00\u200d", "<|endoftext|> </s> [CLS]", "İstanbul ﬁ", "x" * 3000]


def make_bpe(context: BuildContext | None = None, **options: Any) -> Bpe:
    return bpe.build(context or BuildContext(), **BpeConfig(**options).model_dump())


def make_characters(context: BuildContext | None = None, **options: Any) -> Characters:
    return characters.build(context or BuildContext(), **CharactersConfig(**options).model_dump())


def make_words(context: BuildContext | None = None, **options: Any) -> Words:
    return words.build(context or BuildContext(), **WordsConfig(**options).model_dump())


def test_bpe_round_trips_every_text() -> None:
    made = make_bpe(vocab_size=600)
    assert not made.fitted
    assert made.size == 600
    made.fit(iter([*LINES, "", 3, None, "\ud800"]))
    assert made.fitted
    assert made.size == 600
    for text in [*TEXTS, *LINES]:
        ids = made.encode(text)
        assert made.decode([made.begin_id, *ids, made.end_id]) == text
        assert all(2 <= i < made.size for i in ids)
    assert len(made.encode(LINES[0])) < len(LINES[0])


def test_bpe_size_is_real_where_the_data_is_small() -> None:
    made = make_bpe(vocab_size=4000)
    made.fit(["aa aa aa"])
    assert made.size == 2 + 256 + 2  # aa, Ġaa
    assert made.decode(range(made.size)) == made.decode(range(2, made.size + 5))


def test_bpe_is_the_same_in_every_process() -> None:
    code = (
        "import argparse; from pathlib import Path; from mmkit_text.bpe import Bpe\n"
        "made = Bpe(500, False, 2, None); made.fit(Path(argparse.__file__).read_text('utf-8').splitlines())\n"
        "print(made.tokenizer.to_str())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for _ in range(3):
        made = make_bpe(vocab_size=500)
        made.fit(LINES)
        assert made.tokenizer is not None
        assert made.tokenizer.to_str() == done.stdout.removesuffix("\n")


def test_bpe_options() -> None:
    lower, rare, short = (make_bpe(vocab_size=300, **o) for o in ({"lowercase": True}, {"min_frequency": 3}, {}))
    for made in (lower, rare, short):
        made.fit(["Hello hello", "once"])
    assert lower.encode("HELLO") == lower.encode("hello")
    assert lower.decode(lower.encode("HELLO")) == "hello"
    assert rare.size == 258
    assert make_bpe(max_length=2).max_length == 2


@pytest.mark.parametrize("make", [make_bpe, make_characters, make_words])
def test_learning_needs_text(make: Any) -> None:
    with pytest.raises(DataError) as caught:
        make().fit([None, "", 3, " ", "\ud800"])
    name = make.__name__.removeprefix("make_")
    assert str(caught.value) == f"{name} has no text to learn from: the training data has no column of this modality"


@pytest.mark.parametrize("make", [make_bpe, make_characters, make_words])
def test_values_that_are_no_text_are_left_to_the_sample(make: Any) -> None:
    made = make()
    made.fit(["some text", None, 3, {"a": 1}, "\ud800", ""])
    assert made.fitted
    assert made.decode(made.encode("some text")) == "some text"


def test_characters_are_those_seen() -> None:
    made = make_characters()
    made.fit(["cafe\u0301", "ab"])
    assert made.size == 3 + len("abcfé") == 8
    assert made.decode(made.encode("face\u0301")) == "facé"
    assert made.encode("z") == [0]
    assert made.decode([1, *made.encode("az"), 2]) == "a\ufffd"


def test_characters_round_trip_and_keep_the_most_frequent() -> None:
    made = make_characters()
    made.fit(LINES)
    for line in LINES:
        assert made.decode(made.encode(line)) == unicodedata.normalize("NFC", line)
    few = make_characters(max_size=5, lowercase=True)
    few.fit(["aAA", "bb", "c"])
    assert (few.size, few.encode("ABC")) == (5, [3, 4, 0])


@pytest.mark.parametrize("make", [make_bpe, make_characters, make_words])
def test_wrong_values(make: Any) -> None:
    made = make()
    made.fit(LINES)
    with pytest.raises(SampleError) as caught:
        made.encode(b"abc")
    assert str(caught.value) == "text must be a str, got bytes"
    with pytest.raises(SampleError) as caught:
        made.encode("\udfff")
    assert str(caught.value) == (
        "text has half a surrogate pair, U+DFFF, at character 0, which is no Unicode text; "
        "read its file with errors='replace'"
    )


@pytest.mark.parametrize("make", [make_bpe, make_characters])
def test_assets_and_pickle(make: Any, tmp_path: Path) -> None:
    made = make(max_length=9)
    made.fit(LINES)
    made.save_assets(tmp_path)
    again = make(BuildContext(assets=tmp_path, load_weights=False), max_length=9)
    assert again.fitted
    for other in (again, pickle.loads(pickle.dumps(made))):
        assert other.size == made.size
        for text in [*TEXTS, *LINES[:50]]:
            assert other.encode(text) == made.encode(text)
            assert len(other.encode(text)) <= 9
