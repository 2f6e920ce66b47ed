"""Tables: columns of wide signs, folded texts, blocks where there is no room."""

import pytest

from mmkit.cli.output import show

ROWS = [("one", "1", "a text of several words"), ("two", "22", "日本語 and a_word_that_is_longer_than_its_column")]


def shown(capsys: pytest.CaptureFixture[str], **options: object) -> list[str]:
    show(("name", "number", "text"), ROWS, numbers=("number",), wrap="text", **options)  # type: ignore[arg-type]
    return capsys.readouterr().out.splitlines()


def test_a_pipe_gets_one_line_a_row(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert shown(capsys, total=True) == [
        "name  number  text",
        "─" * 62,
        "one        1  a text of several words",
        "",
        "two       22  日本語 and a_word_that_is_longer_than_its_column",
    ]


def test_a_narrow_terminal_folds_one_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "42")
    assert shown(capsys)[2:] == [
        "one        1  a text of several words",
        "two       22  日本語 and",
        "              a_word_that_is_longer_than_i",
        "              ts_column",
    ]


def test_a_very_narrow_one_gets_blocks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert shown(capsys)[:5] == ["one", "  number: 1", "  text: a text of", "  several words", "two"]


def test_a_cell_of_several_lines_stays_in_its_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    show(("a", "b"), [("first\nsecond", "x")])
    assert capsys.readouterr().out.splitlines()[2:] == ["first         x", "second"]
