"""The spec passes ``mmkit.check``; what is said is judged text for text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mmkit_audio.codec_conformance import spec as small_codec

import mmkit
from recipes.text_to_speech.judge import another, chosen, judged, spoken, write
from recipes.text_to_speech.prepare import DIGITS, words

HERE = Path(__file__).parent


def rows(*texts: str) -> list[dict[str, Any]]:
    return [{"audio": f"audio/{number}.wav", "text": text, "seconds": 1.0} for number, text in enumerate(texts)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> mmkit.Model:
    folder = tmp_path_factory.mktemp("speech")
    mmkit.build(small_codec(), seed=0).save(folder / "codec")
    adapter = {"use": "audio-codes", "codec": str(folder / "codec"), "pattern": "delay", "max_seconds": 0.5}
    spec = yaml.safe_load((HERE / "spec.yaml").read_text("utf-8"))
    spec["modalities"]["audio"]["adapter"] = adapter
    spec["backbone"] |= {"dim": 16, "layers": 1, "heads": 2}
    del spec["data"], spec["train"]
    return mmkit.build(spec, fit={"text": list(DIGITS)}, seed=0)


def test_spec_passes_the_whole_check(tmp_path: Path) -> None:
    """With a tokenizer that has learnt nothing."""
    mmkit.build(HERE.parent / "speech_tokens" / "spec.yaml").save(tmp_path / "codec")
    (tmp_path / "spec.yaml").write_text((HERE / "spec.yaml").read_text("utf-8"), "utf-8")
    assert mmkit.check(tmp_path / "spec.yaml", static=True)
    found = mmkit.check(tmp_path / "spec.yaml")
    assert sum(row.parameters for row in found) == sum(row.trainable for row in found) > 500_000


def test_a_word_is_judged_once_and_letters_never() -> None:
    given = rows("b", "extension", "seven", "agent logged in", "extension", "o'clock")
    assert [row["audio"] for row in words(given)] == ["audio/1.wav", "audio/2.wav", "audio/5.wav"]


def test_the_ten_digits_are_always_judged() -> None:
    given = rows("monday", *reversed(DIGITS), "tuesday", "friday")
    texts = [row["text"] for row in chosen(given, 12)]
    assert set(DIGITS) < set(texts)
    assert len(texts) == len(set(texts)) == 12
    assert [row["text"] for row in chosen(given[::-1], 12)][10:] == texts[10:]


def test_the_baseline_says_every_text_once_and_never_the_right_one() -> None:
    places = another(rows(*DIGITS))
    assert sorted(places) == list(range(10))
    assert all(place != number for number, place in enumerate(places))


def test_only_exactly_what_was_asked_for_is_right() -> None:
    found = judged(["seven", "for", "nine", "one one"], ["seven", "four", "nine", "one"])
    assert found["right"] == 0.5
    assert found["wer"] == 0.5


def test_a_word_is_right_however_its_number_or_its_spaces_are_written() -> None:
    assert (
        judged(["fifty th", "upper case", "three rd", "fifteen th"], ["fiftieth", "uppercase", "third", "fifteenth"])[
            "right"
        ]
        == 1
    )


def test_the_nearest_word_is_of_the_vocabulary() -> None:
    found = judged(["pick", "karma"], ["tick", "comma"], ["seven", "tick", "comma"])
    assert (found["right"], found["nearest"]) == (0, 1)


def test_what_is_said_of_a_row_does_not_depend_on_its_batch(model: mmkit.Model, tmp_path: Path) -> None:
    given = rows("one", "two", "three")
    together, one_by_one = (spoken(model, given, batch=batch, temperature=1.0) for batch in (3, 1))
    for one, other in zip(together, one_by_one, strict=True):
        assert len(one["array"])
        assert np.array_equal(one["array"], other["array"])
    write(tmp_path / "sounds", "words", "spoken", together, [row["text"] for row in given], most=2)
    assert sorted(path.name for path in (tmp_path / "sounds").iterdir()) == [
        "words, 00, one, spoken.wav",
        "words, 01, two, spoken.wav",
    ]
