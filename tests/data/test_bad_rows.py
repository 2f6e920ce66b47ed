"""Rows that cannot be used: named with their address, counted exactly, skipped under a limit – never a silent wrong batch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit

GOOD = [{"text": f"a fine film {n}", "label": "pos" if n % 2 else "neg"} for n in range(6)]
SKIP = " (data.on_bad_sample: skip would leave such rows out)"
BAD = {
    "missing": ({"label": "pos"}, "column 'text' is empty"),
    "null": ({"text": None, "label": "pos"}, "column 'text' is empty"),
    "no target": ({"text": "a", "label": None}, "column 'label' is empty"),
    "number": ({"text": 3, "label": "pos"}, "column 'text': text must be a str, got int"),
    "object": ({"text": {"a": 1}, "label": "pos"}, "column 'text': text must be a str, got dict"),
    "list": ({"text": ["a"], "label": "pos"}, "column 'text': text must be a str, got list"),
    "label": ({"text": "a", "label": "poss"}, "label 'poss' is not in the head's labels; did you mean 'pos'?"),
    "far label": ({"text": "a", "label": "zzz"}, "label 'zzz' is not in the head's labels; listed: neg, pos"),
    "labels": ({"text": "a", "label": ["pos"]}, "one label is wanted, got 1 in a list; head.multi_label: true takes several"),
    "surrogate": (
        '{"text": "\\ud800", "label": "pos"}',
        "column 'text': text has half a surrogate pair, U+D800, at character 0, which is no Unicode text; "
        "read its file with errors='replace'",
    ),
}  # fmt: skip


def raised(call: Callable[[], Any]) -> str:
    with pytest.raises(mmkit.DataError) as caught:
        call()
    return str(caught.value)


@pytest.fixture
def model(mood: dict[str, Any]) -> Callable[..., mmkit.Model]:
    def build(**data: Any) -> mmkit.Model:
        mood["data"] |= data
        return mmkit.build(mood, fit={"text": ["a fine film"]})

    return build


WORKERS = [(kind, 0) for kind in BAD if kind != "surrogate"] + [("number", 1), ("label", 1)]


@pytest.mark.parametrize(("kind", "workers"), WORKERS)
def test_a_bad_row_stops_the_run_with_its_address(write_rows: Any, model: Any, kind: str, workers: int) -> None:
    row, reason = BAD[kind]
    path = write_rows([*GOOD, row, *GOOD])
    assert raised(lambda: mmkit.evaluate(model(workers=workers))) == f"{path}:7: {reason}{SKIP}"


@pytest.mark.parametrize("kind", [kind for kind in BAD if kind != "surrogate"])
def test_a_bad_row_stops_training_before_anything_is_written(
    write_rows: Any, mood: dict[str, Any], train: Any, tmp_path: Path, kind: str
) -> None:
    row, reason = BAD[kind]
    path = write_rows([*GOOD[:2], row])
    mood["train"]["stages"][0] |= {"batch_size": 3, "steps": 1}
    assert raised(lambda: train(mood)) == f"{path}:3: {reason}{SKIP}"
    assert not (tmp_path / "model" / "manifest.json").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_all_kinds_are_skipped_and_counted_exactly(write_rows: Any, model: Any, workers: int) -> None:
    rows: list[Any] = [*GOOD]
    for place, (row, _) in enumerate(BAD[kind] for kind in BAD if kind not in ("surrogate", "list", "labels")):
        rows.insert(2 * place, row)
    path = write_rows(rows)
    bad = {place for place, row in enumerate(rows, 1) if row not in GOOD}
    result = mmkit.evaluate(model(on_bad_sample="skip", max_bad=0.9, workers=workers), batch_size=4)["mood"]
    assert result.metrics["bad_rows"] == len(bad) == 7
    assert result.addresses == [f"{path}:{number}" for number in range(1, 14) if number not in bad]
    assert result.references == [row["label"] for row in GOOD]


def test_what_was_skipped_is_said_after_training(write_rows: Any, mood: dict[str, Any], train: Any) -> None:
    path = write_rows([*GOOD, BAD["number"][0]])
    mood["data"] |= {"on_bad_sample": "skip", "max_bad": 0.5}
    mood["train"]["stages"][0] |= {"batch_size": 7, "steps": 1}
    train(mood)
    assert f"skipped: 1 of 7 rows could not be used ({path}:7: {BAD['number'][1]})" in train.said


def test_the_limit_counts_over_the_whole_run(write_rows: Any, model: Any) -> None:
    """Few rows, and the bad ones late: the share is looked at when the last row is there."""
    path = write_rows([*GOOD * 3, *[BAD["label"][0]] * 2])
    said = raised(lambda: mmkit.evaluate(model(on_bad_sample="skip", max_bad=0.05), batch_size=4))
    reason = BAD["label"][1].replace("'poss'", "<label, 4 characters>")  # a log quotes no row
    first = "; ".join(f"{path}:{row}: {reason}" for row in (19, 20))
    assert said == f"2 of 20 rows could not be used ({first}); more than data.max_bad = 5.0% allows"
    assert mmkit.evaluate(model(max_bad=0.1), batch_size=4)["mood"].metrics["bad_rows"] == 2


def test_the_limit_stops_a_long_run_early(write_rows: Any, model: Any) -> None:
    path = write_rows([*GOOD * 30, *[BAD["label"][0]] * 5000])
    said = raised(lambda: mmkit.evaluate(model(on_bad_sample="skip", max_bad=0.01), batch_size=10))
    seen = int(said.split(" of ")[1].split(" ")[0])
    assert seen < 250
    assert f"({path}:181: " in said


def test_bytes_that_are_no_text_are_named(write_rows: Any, model: Any, mood: dict[str, Any], train: Any) -> None:
    path = write_rows(GOOD)
    path.write_bytes(path.read_bytes() + b'{"text": "\xff\xfe", "label": "pos"}\n')
    for call in (lambda: mmkit.evaluate(model()), lambda: train(mood)):
        said = raised(call)
        assert str(path) in said
        assert "UnicodeDecodeError" in said
        assert "\n" not in said


def test_a_value_of_another_type_leaves_the_vocabulary_its_texts(
    write_rows: Any, mood: dict[str, Any], train: Any, tmp_path: Path
) -> None:
    write_rows([*GOOD, BAD["number"][0], BAD["object"][0]])
    mood["data"] |= {"on_bad_sample": "skip", "max_bad": 0.9}
    train(mood)
    words = json.loads((tmp_path / "model" / "assets" / "text.adapter" / "words.json").read_text())
    assert words[:3] == ["a", "film", "fine"]
