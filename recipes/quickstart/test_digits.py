"""The demo's second model: its data, its judges, and what the report shows of it."""

from pathlib import Path

import numpy as np
import pytest

import mmkit
from recipes.common.cache import read_jsonl
from recipes.quickstart import making, report
from recipes.quickstart.digits import WORDS, Listener, Namer, make

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("sklearn", "espeakng_loader"):
        pytest.importorskip(package, reason="pip install -r requirements/demo.txt")
    place = tmp_path_factory.mktemp("digits") / "digits"
    make(place)
    return place


def test_spec_is_well_formed() -> None:
    assert mmkit.check(HERE / "digits.yaml", static=True)


def test_pictures_and_words_belong_together(folder: Path) -> None:
    parts = {part: read_jsonl(folder / f"{part}.jsonl") for part in ("train", "test")}
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 1497, "test": 300}
    assert not {row["image"] for row in parts["train"]} & {row["image"] for row in parts["test"]}
    for row in parts["test"]:
        assert row["spoken"].startswith(f"audio/{row['word']}-")
        assert (folder / row["spoken"]).is_file()


def test_judges_know_what_is_real(folder: Path) -> None:
    from PIL import Image

    from recipes.common.speech import Speaker

    rows = read_jsonl(folder / "test.jsonl")
    assert (
        making.share(Namer(folder)([Image.open(folder / row["image"]) for row in rows]), [r["word"] for r in rows])
        > 0.95
    )
    speaker, hear = Speaker("en-us+m1", 185), Listener(folder)  # a voice that no recording has
    heard = hear([{"array": speaker(word), "sampling_rate": 16_000} for word in WORDS])
    assert making.share(heard, WORDS) >= 0.8
    assert hear([{"array": np.zeros(0, np.float32), "sampling_rate": 16_000}])[0] in WORDS


def test_a_model_that_has_learnt_nothing_is_judged_and_shown(folder: Path) -> None:
    made = making.make(mmkit.build(HERE / "digits.yaml", fit={"text": WORDS}, seed=0), folder)
    assert [(one.task, len(one.values), len(one.judged)) for one in made] == [("draw", 100, 100), ("say", 100, 100)]
    assert all(one.right < 0.5 for one in made)
    for one in made:
        cards = report.made_cards(one)
        assert [card["reference"].split()[-1] for card in cards] == list(dict.fromkeys(one.wanted))
        assert all(card["right"] == (card["output"] == card["reference"].split()[-1]) for card in cards)
        assert all(card["images"][0].startswith("data:image/png;base64,") for card in cards)
        assert bool(cards[0]["audio"]) == (one.task == "say")
