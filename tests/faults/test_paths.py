"""A manifest cannot reach outside its folder, nor the network, whatever form its values have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit

Write = Callable[..., Path]


@pytest.fixture
def home(tmp_path: Path, picture: Callable[..., bytes]) -> Path:
    """A data folder with one picture, a secret beside it, and links from the one to the other."""
    data = tmp_path / "data"
    (data / "inner").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "s.png").write_bytes(picture(1))
    (data / "inner" / "a.png").write_bytes(picture(2))
    (data / "link.png").symlink_to(tmp_path / "secret" / "s.png")
    (data / "linked").symlink_to(tmp_path / "secret")
    (data / "alias.png").symlink_to(data / "inner" / "a.png")
    (data / "loop.png").symlink_to(data / "loop.png")
    return data


def spec_of(path: Path, **data: Any) -> dict[str, Any]:
    source = {"task": "see", "path": str(path)}
    return {
        "mmkit": 1,
        "modalities": {"image": {"encoder": {"use": "cnn", "image_size": 8, "channels": [4]}}},
        "tasks": {
            "see": {"input": "{image}", "output": "{label}", "head": {"use": "classify", "labels": ["x", "y"]}},
        },
        "data": {"train": [source], "test": [source], **data},
        "train": {"stages": [{"name": "all", "steps": 1, "batch_size": 2}]},
    }


def refusal(home: Path, write_rows: Write, value: Any, **data: Any) -> str:
    path = write_rows([{"image": value, "label": "x"}], "data/rows.jsonl")
    spec = spec_of(path, **data)
    with pytest.raises(mmkit.DataError) as caught:
        mmkit.evaluate(mmkit.build(spec))
    said = str(caught.value)
    start, end = f"{path}:1: column 'image': ", " (data.on_bad_sample: skip would leave such rows out)"
    assert said.startswith(start)
    assert said.endswith(end)
    return said.removeprefix(start).removesuffix(end).replace(str(home), "DATA").replace(str(home.parent), "TMP")


LEAVES = "leaves the data folder DATA; put the file inside it, or set data.root"


@pytest.mark.parametrize(
    "value",
    [
        "../secret/s.png",
        "inner/../../secret/s.png",
        "{secret}/s.png",
        "link.png",
        "linked/s.png",
        "/etc/passwd",
        "//etc/passwd",
        "../data-of-another/x.png",
    ],
)
@pytest.mark.parametrize("form", ["string", "mapping"])
def test_a_path_that_leaves_the_data_folder_is_refused(home: Path, write_rows: Write, value: str, form: str) -> None:
    value = value.format(secret=home.parent / "secret")
    said = refusal(home, write_rows, value if form == "string" else {"path": value, "bytes": None})
    assert said == f"{value!r} {LEAVES}".replace(str(home.parent), "TMP")


@pytest.mark.parametrize("value", ["loop.png", "a\0b.png", "x" * 5000])
def test_a_value_that_is_no_path_is_a_bad_row_not_a_crash(home: Path, write_rows: Write, value: str) -> None:
    said = refusal(home, write_rows, value)
    assert said.startswith((f"{value[:100]!r} is not a path: ", f"image file '{'DATA/' + value}': "))


@pytest.mark.parametrize("value", ["inner/a.png", "./inner/../inner/a.png", "alias.png", "{home}/inner/a.png"])
def test_a_path_that_stays_inside_is_read(home: Path, write_rows: Write, value: str) -> None:
    path = write_rows([{"image": value.format(home=home), "label": "x"}], "data/rows.jsonl")
    assert len(mmkit.evaluate(mmkit.build(spec_of(path)))["see"].predictions) == 1


@pytest.mark.parametrize("value", ["http://example.org/a.png", "file:///etc/passwd", "ftp://example.org/a.png"])
def test_a_url_is_not_fetched(home: Path, write_rows: Write, value: str) -> None:
    assert refusal(home, write_rows, value) == (
        f"{value!r} is a URL; only files under DATA are read (data.urls would allow named hosts)"
    )


def test_paths_in_a_list_are_held_inside_too(home: Path, write_rows: Write) -> None:
    """For a plugin that takes several files; the first-party ones take one and say so."""
    assert refusal(home, write_rows, ["inner/a.png", "../secret/s.png"]) == f"'../secret/s.png' {LEAVES}"
    assert refusal(home, write_rows, ["inner/a.png"]).endswith("; got list")


def test_data_root_moves_the_border(home: Path, write_rows: Write) -> None:
    assert refusal(home, write_rows, "inner/a.png", root=str(home / "inner")) == (
        f"image file '{'DATA/inner/inner/a.png'}': does not exist"
    )
    assert refusal(home, write_rows, "../rows.jsonl", root=str(home / "inner")) == (
        "'../rows.jsonl' leaves the data folder DATA/inner; put the file inside it, or set data.root"
    )
    path = write_rows([{"image": "secret/s.png", "label": "x"}], "data/rows.jsonl")
    spec = spec_of(path, root=str(home.parent))
    assert len(mmkit.evaluate(mmkit.build(spec))["see"].predictions) == 1


def test_text_that_looks_like_a_path_is_text(mood: dict[str, Any], write_rows: Write, train: Any) -> None:
    write_rows([{"text": "../../etc/passwd", "label": "pos"}, {"text": "http://x.y", "label": "neg"}])
    assert len(mmkit.evaluate(train(mood))["mood"].predictions) == 2
