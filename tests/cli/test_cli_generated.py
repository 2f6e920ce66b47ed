"""Predictions that are pictures and sounds: ``mmkit predict`` and ``mmkit evaluate`` write them to files."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from PIL import Image

import mmkit
from tests import small_codecs
from tests.cli.conftest import Run, write_rows

HOMELESS = "error: task 'draw' answers with files, which no line can hold; say where they go with --out FOLDER\n"


@pytest.fixture
def maker(install: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved model that draws and speaks, in the current folder."""
    install("lab", small_codecs.CODE)
    monkeypatch.chdir(tmp_path)
    for name in ("light", "dark"):
        Image.new("L", (2, 2), 200 if name == "light" else 20).save(f"{name}.png")
    rows = [{"text": name, "picture": f"{name}.png"} for name in ("light", "dark")]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    spec = {**small_codecs.SPEC, "data": {"test": [{"task": "draw", "path": str(path)}]}}
    return mmkit.build(spec, fit={"text": ["light", "dark"]}).save("maker")


def test_a_picture_is_written_and_its_path_printed(run: Run, maker: Path) -> None:
    assert run("predict", maker, "--task", "draw", "--text", "light").out == "draw-1.png\n"
    wanted = mmkit.load(maker).predict("draw", {"text": "light"})
    with Image.open("draw-1.png") as drawn:
        assert (drawn.format, drawn.size, drawn.tobytes()) == ("PNG", (2, 2), wanted.tobytes())
    done = run("predict", maker, "--task", "draw", "--text", "dark", "--json")
    assert json.loads(done.out) == {"prediction": "draw-2.png"}


def test_a_sound_is_written_into_the_folder_that_is_named(run: Run, maker: Path) -> None:
    done = run("predict", maker, "--task", "say", "--text", "light", "--out", "new/made")
    assert (done.code, done.out, done.err) == (0, "new/made/say-1.wav\n", "")
    samples, rate = soundfile.read("new/made/say-1.wav")
    wanted = mmkit.load(maker).predict("say", {"text": "light"})
    assert (rate, len(samples)) == (8000, len(wanted["array"]))


def test_a_picture_that_comes_into_being_is_one_file_and_takes_no_older_ones_place(run: Run, maker: Path) -> None:
    Path("draw-1.png").write_text("older")
    done = run("predict", maker, "--task", "draw", "--text", "light", "--stream")
    assert (done.code, done.out, done.err) == (0, "draw-2.png\n" * 3, "")
    wanted = mmkit.load(maker).predict("draw", {"text": "light"})
    with Image.open("draw-2.png") as drawn:
        assert drawn.tobytes() == wanted.tobytes()
    assert Path("draw-1.png").read_text() == "older"


def test_a_sound_that_comes_into_being_is_a_file_every_half_second(run: Run, maker: Path) -> None:
    wanted = mmkit.load(maker).predict("say", {"text": "light"})["array"]
    done = run("predict", maker, "--task", "say", "--text", "light", "--stream", "--json")
    pieces = [json.loads(line) for line in done.out.splitlines()]
    assert [piece["last"] for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    files = [piece["piece"] for piece in pieces if piece["piece"] is not None]
    assert files == [f"say-{number}.wav" for number in range(1, len(files) + 1)]
    assert sum(len(soundfile.read(file)[0]) for file in files) == len(wanted)


def test_rows_have_files_of_their_number(run: Run, maker: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "in.jsonl", [{"text": "light"}, "", {"txt": "x"}, {"text": "dark"}])
    line = ("predict", maker, "--task", "draw", "--rows", rows, "--skip-bad", "--out", "made")
    for _ in range(2):  # written anew, not beside
        answers = [json.loads(text) for text in run(*line).out.splitlines()]
        assert [answer.get("prediction") for answer in answers] == ["made/draw-1.png", None, "made/draw-4.png"]
        assert sorted(path.name for path in Path("made").iterdir()) == ["draw-1.png", "draw-4.png"]


def test_rows_of_pictures_need_a_folder(run: Run, maker: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "in.jsonl", [{"text": "light"}])
    done = run("predict", maker, "--task", "draw", "--rows", rows, "--output", "answers.jsonl")
    assert (done.code, done.out, done.err) == (2, "", HOMELESS)
    assert not Path("answers.jsonl").exists()


def test_a_folder_that_cannot_be_made_is_named(run: Run, maker: Path) -> None:
    done = run("predict", maker, "--task", "draw", "--text", "light", "--out", "light.png")
    assert done.code == 1
    assert done.err == "error: light.png: File exists\n"


def test_an_evaluation_writes_them_beside_its_predictions(run: Run, maker: Path, tmp_path: Path) -> None:
    done = run("evaluate", maker, "--predictions", "new/answers.jsonl", "--report", "page.html")
    assert (done.code, done.err) == (0, "wrote new/answers.jsonl\nwrote page.html\n")
    lines = [json.loads(line) for line in Path("new/answers.jsonl").read_text().splitlines()]
    assert [line["prediction"] for line in lines] == ["answers/draw-1.png", "answers/draw-2.png"]
    assert [line["reference"] for line in lines] == [str(tmp_path / "light.png"), str(tmp_path / "dark.png")]
    assert all((Path("new") / line["prediction"]).is_file() for line in lines)
    assert "loss" in done.out
