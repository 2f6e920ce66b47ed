"""``mmkit predict``: what it prints, and what it says about every wrong line."""

import io
import json
from pathlib import Path

import pytest

import mmkit
from mmkit.cli.words import in_words
from tests.cli.conftest import Run, write_rows


def test_columns_are_options_wherever_they_stand_and_json_has_everything(run: Run, model: Path, work: Path) -> None:
    expected = mmkit.load(model).predict("mood", {"text": "a fine film"})
    lines = [
        ("predict", model, "--task", "mood", "--text", "a fine film", "--json"),
        ("predict", "--text=a fine film", "--json", model, "--task=mood"),
        ("predict", "--json", "--row", '{"text": "a fine film"}', "--task", "mood", model),
        ("predict", "--row", '{"text": "other"}', "--text", "a fine film", "--task", "mood", "--json", "--", model),
    ]
    for line in lines:
        done = run(*line)
        assert (done.code, done.err) == (0, "")
        assert json.loads(done.out) == {"prediction": expected}


def test_a_person_is_given_words(run: Run, model: Path) -> None:
    expected = mmkit.load(model).predict("mood", {"text": "a fine film"})
    first, second = sorted(expected["probabilities"].items(), key=lambda pair: -pair[1])
    done = run("predict", model, "--task", "mood", "--text", "a fine film")
    assert done.out == (
        f"label          {expected['label']}\nprobabilities  {first[0]} {first[1]:.4g}, {second[0]} {second[1]:.4g}\n"
    )


def test_media_are_found_from_the_current_folder(
    run: Run, model: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(work)
    expected = mmkit.load(model).predict("shade", {"image": work / "light.png"})
    done = run("predict", "model", "--task", "shade", "--image=light.png", "--json")
    assert json.loads(done.out) == {"prediction": expected}
    done = run("predict", "model", "--task", "shade", "--image", "cat.png")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: column 'image': image file 'cat.png': does not exist\n"


def test_decoding_options_reach_the_decoder(run: Run, model: Path, work: Path) -> None:
    loaded = mmkit.load(model)
    for options, written in (
        ({"beams": 3, "length_penalty": 0.5}, ["--beams", "3", "--length-penalty=0.5"]),
        ({"temperature": 2.0, "top_k": 5, "seed": 7, "max_new_tokens": 9},
         ["--temperature", "2", "--top-k", "5", "--seed", "7", "--max_new_tokens", "9"]),
    ):  # fmt: skip
        expected = loaded.predict("caption", {"image": work / "dark.png"}, **options)
        done = run("predict", model, "--task", "caption", "--image", work / "dark.png", *written)
        assert (done.code, done.out, done.err) == (0, f"{expected}\n", "")


def test_an_answer_is_printed_as_it_comes_into_being(run: Run, model: Path, work: Path) -> None:
    expected = mmkit.load(model).predict("caption", {"image": work / "dark.png"})
    line = ("predict", model, "--task", "caption", "--image", work / "dark.png", "--stream")
    done = run(*line)
    assert (done.code, done.out, done.err) == (0, f"{expected}\n", "")
    pieces = [json.loads(text) for text in run(*line, "--json").out.splitlines()]
    assert "".join(piece["piece"] for piece in pieces) == expected
    assert pieces[-1]["last"] is True
    done = run("predict", model, "--task", "caption", "--rows", work / "rows.jsonl", "--stream")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: --stream prints the answer to one row; --rows cannot stand beside it\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--text", "x"], "the model has several tasks; say --task with one of: caption, mood, shade"),
        (["--task", "moood", "--text", "x"], "there is no task 'moood': did you mean 'mood'?"),
        (["--task", "mood"], "task 'mood' needs --text"),
        (["--task", "mood", "--text"], "--text needs a value: --text VALUE or --text=VALUE"),
        (["--task", "mood", "--text", "--json"], "--text needs a value: --text VALUE or --text=VALUE"),
        (["--task", "mood", "--text", "a", "--text", "b"], "--text is given twice"),
        (
            ["--task", "mood", "--txt", "x"],
            "task 'mood' has no column or decoding option --txt: did you mean '--text'?",
        ),
        (
            ["--task", "mood", "--text", "x", "--beams", "2"],
            "task 'mood' has no column or decoding option --beams: allowed: --text",
        ),
        (
            ["--task", "caption", "--image", "x", "--beans", "2"],
            "task 'caption' has no column or decoding option --beans: did you mean '--beams'?",
        ),
        (
            ["--task", "caption", "--image", "x", "--max-new-tokens", "-5"],
            "--max-new-tokens -5: Input should be greater than 0",
        ),
        (
            ["--task", "caption", "--image", "x", "--beams", "two", "--top-p=2"],
            "--beams two: Input should be a valid integer, unable to parse string as an integer; "
            "--top-p 2: Input should be less than or equal to 1",
        ),
        (
            ["--task", "caption", "--image", "x", "--beams", "2", "--temperature", "1"],
            "beams > 1 and temperature > 0 exclude each other: beam search does not sample",
        ),
        (
            ["--task", "mood", "--row", "{'text': 1}"],
            "--row is not valid JSON: Expecting property name enclosed in double quotes at character 2; "
            'write it as --row \'{"column": "value"}\'',
        ),
        (
            ["--task", "mood", "--row", "[1, 2]"],
            '--row must be a JSON object of columns, got a list; write it as --row \'{"column": "value"}\'',
        ),
        (["--task", "mood", "--row", "{}", "--rows", "x.jsonl"], "--row and --rows exclude each other"),
        (["--task", "mood", "--row", '{"text": 3}'], "column 'text': text must be a str, got int"),
        (["--task", "mood", "--rows", "none.jsonl"], "cannot read none.jsonl: No such file or directory"),
    ],
)
def test_a_wrong_line_is_explained(run: Run, model: Path, line: list[str], message: str) -> None:
    done = run("predict", model, *line)
    assert (done.code, done.out, done.err) == (2, "", f"error: {message}\n")


def test_values_may_begin_with_a_dash(run: Run, model: Path) -> None:
    for written in (["--text", "-5"], ["--text", "-"], ["--text=--task"]):
        assert run("predict", model, "--task", "mood", *written).code == 0


def test_a_folder_without_a_model_is_refused(run: Run, tmp_path: Path) -> None:
    done = run("predict", tmp_path, "--task", "mood", "--text", "x")
    assert done.err == f"error: {tmp_path} is not a saved mmkit model: it has no manifest.json\n"
    assert done.code == 2
    done = run("predict", tmp_path / "none", "--task", "mood", "--text", "x")
    assert done.err == f"error: {tmp_path / 'none'} is not a saved mmkit model: it has no manifest.json\n"


def test_a_device_that_is_not_there_is_named(run: Run, model: Path) -> None:
    done = run("predict", model, "--task", "mood", "--text", "x", "--device", "abacus")
    assert done.code == 2
    assert done.err.startswith("error: --device abacus cannot be used: ")


def test_a_file_of_rows_gives_a_line_a_row(run: Run, model: Path, tmp_path: Path) -> None:
    texts = ["a fine film", "a dull film", "", "warm"]
    expected = mmkit.load(model).predict("mood", [{"text": text} for text in texts])
    rows = write_rows(tmp_path / "in.jsonl", [{"text": texts[0]}, "", *({"text": t} for t in texts[1:])])
    done = run("predict", model, "--task", "mood", "--rows", rows, "--batch-size", 3)
    assert (done.code, done.err) == (0, "")
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert [answer["row"] for answer in answers] == [1, 3, 4, 5]
    for answer, wanted in zip(answers, expected, strict=True):
        assert answer["prediction"]["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-6)


def test_rows_can_come_from_stdin_and_go_to_a_file(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "warm"}\n{"text": "cold"}\n')))
    output = tmp_path / "new" / "out.jsonl"
    done = run("predict", model, "--task", "mood", "--rows", "-", "--output", output)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert [json.loads(line)["row"] for line in output.read_text().splitlines()] == [1, 2]


def test_a_bad_row_stops_and_keeps_what_was_written(run: Run, model: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "in.jsonl", [{"text": "warm"}, {"txt": "cold"}, "{oops", "[1]"])
    done = run("predict", model, "--task", "mood", "--rows", rows, "--batch-size", 4)
    assert done.code == 2
    assert [json.loads(line)["row"] for line in done.out.splitlines()] == [1]
    assert done.err == (
        f"error: {rows}:2: there is no column 'text'; the row has: txt (--skip-bad would go on; rows written: 1)\n"
    )


def test_skip_bad_goes_on_and_each_line_says_why(run: Run, model: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "in.jsonl", [{"text": "warm"}, {"txt": "cold"}, "{oops", "[1]", {"text": "cold"}])
    done = run("predict", model, "--task", "mood", "--rows", rows, "--skip-bad")
    assert (done.code, done.err) == (0, "3 of 5 rows could not be used; their lines say why\n")
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert [answer.get("error") for answer in answers] == [
        None,
        "there is no column 'text'; the row has: txt",
        "is not valid JSON: Expecting property name enclosed in double quotes at character 2",
        "must be a JSON object of columns, got a list",
        None,
    ]
    done = run("predict", model, "--task", "mood", "--rows", write_rows(rows, ["{oops"]), "--skip-bad")
    assert done.code == 2
    assert done.err.endswith("error: no row could be used\n")


def test_media_of_a_file_of_rows_are_beside_it_and_stay_there(
    run: Run, model: Path, work: Path, tmp_path: Path
) -> None:
    rows = write_rows(work / "two.jsonl", [{"image": "light.png"}, {"image": "dark.png"}])
    done = run("predict", model, "--task", "shade", "--rows", rows)
    assert (done.code, len(done.out.splitlines())) == (0, 2)
    elsewhere = write_rows(tmp_path / "two.jsonl", [{"image": "light.png"}])
    assert run("predict", model, "--task", "shade", "--rows", elsewhere, "--root", work).code == 0
    done = run("predict", model, "--task", "shade", "--rows", write_rows(elsewhere, [{"image": "../../etc/passwd"}]))
    assert done.code == 2
    assert f"'../../etc/passwd' leaves the data folder {tmp_path}" in done.err


def test_columns_beside_a_file_of_rows_are_refused(run: Run, model: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "in.jsonl", [{"text": "warm"}])
    done = run("predict", model, "--task", "mood", "--rows", rows, "--text", "x")
    assert done.err == "error: --rows takes its columns from the file; --text cannot stand beside it\n"
    done = run("predict", model, "--task", "mood", "--rows", write_rows(rows, []))
    assert done.err == f"error: {rows} has no rows\n"


def test_predictions_in_words() -> None:
    assert in_words("a cat") == "a cat"
    assert in_words(0.123456) == "0.1235"
    assert in_words({"labels": [], "probabilities": {"a": 0.25}}) == "labels         (none)\nprobabilities  a 0.25"
    assert in_words({"a": [0.5] * 12}) == "a  [" + "0.5, " * 10 + "… 12 numbers]"
    assert in_words({"p": {str(n): n / 100 for n in range(12)}}).endswith("2 0.02, … 2 more")
