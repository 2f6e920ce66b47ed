"""Rows from every kind of source: the same rows whatever the file, in order, with addresses; what is wrong is named."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmkit
from mmkit.data.loading import open_all
from mmkit.wiring.planner import plan

ROWS = [
    {"text": "a fine warm film", "label": "pos"},
    {"text": "a dull, cold film", "label": "neg"},
    {"text": 'it "ends" well', "label": "pos"},
    {"text": "żółw 日本 🙂", "label": "neg"},
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """In the form that the ending names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), "utf-8")
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def evaluated(spec: dict[str, Any], **source: Any) -> Any:
    (given,) = spec["data"]["test"]
    given |= source
    return mmkit.evaluate(mmkit.build(spec, fit={"text": ["a fine dull film"]}))["mood"]


def rows_of(spec: dict[str, Any], **source: Any) -> list[dict[str, Any]]:
    from mmkit.discovery import discover

    (given,) = spec["data"]["test"]
    given |= source
    (rows,) = open_all(plan(spec, discover()), "test")
    return list(rows)


FORMS = [".jsonl", ".json", ".csv", ".tsv", ".parquet"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("streaming", [False, True])
def test_every_form_gives_the_same_rows(mood: dict[str, Any], tmp_path: Path, form: str, streaming: bool) -> None:
    path = write(tmp_path / f"data{form}", ROWS)
    assert rows_of(mood, path=str(path), streaming=streaming) == ROWS
    result = evaluated(mood, path=str(path), streaming=streaming)
    assert result.references == ["pos", "neg", "pos", "neg"]
    assert result.addresses == [f"{path}:{number}" for number in (1, 2, 3, 4)]


def test_a_glob_reads_its_files_in_order_of_their_names(mood: dict[str, Any], tmp_path: Path) -> None:
    for number, row in enumerate(ROWS):
        write(tmp_path / "parts" / f"{number}.jsonl", [row])
    assert rows_of(mood, path=str(tmp_path / "parts" / "*.jsonl")) == ROWS
    assert evaluated(mood, path=str(tmp_path / "parts" / "[13].jsonl")).references == ["neg", "neg"]


def test_paths_start_at_the_folder_of_the_spec(mood: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "home" / "data" / "rows.csv", ROWS)
    mood["data"] = {"test": [{"task": "mood", "path": "data/rows.csv"}]}
    del mood["train"]
    (tmp_path / "home" / "spec.json").write_text(json.dumps(mood))
    model = mmkit.build(tmp_path / "home" / "spec.json", fit={"text": ["a"]})
    assert mmkit.evaluate(model)["mood"].addresses[0] == "data/rows.csv:1"


@pytest.mark.parametrize("streaming", [False, True])
def test_rename_and_limit(mood: dict[str, Any], tmp_path: Path, streaming: bool) -> None:
    rows = [{"sentence": row["text"], "class": row["label"], "other": 1} for row in ROWS]
    path = write(tmp_path / "rows.jsonl", rows)
    options = {"rename": {"sentence": "text", "class": "label"}, "limit": 3, "streaming": streaming}
    assert [(row["text"], row["label"]) for row in rows_of(mood, path=str(path), **options)] == [
        (row["text"], row["label"]) for row in ROWS[:3]
    ]
    assert len(evaluated(mood, path=str(path), **{**options, "limit": 99}).predictions) == 4


@pytest.mark.parametrize("streaming", [False, True])
def test_limits_of_evaluate_and_streams_go_together(mood: dict[str, Any], tmp_path: Path, streaming: bool) -> None:
    path = write(tmp_path / "rows.jsonl", ROWS)
    mood["data"]["test"][0] |= {"path": str(path), "streaming": streaming}
    model = mmkit.build(mood, fit={"text": ["a"]})
    steps: list[tuple[str, int, int]] = []
    result = mmkit.evaluate(model, limit=2, step=lambda *given: steps.append(given))["mood"]  # type: ignore[arg-type]
    assert result.references == ["pos", "neg"]
    assert steps[-1][:2] == ("mood", 2)


@pytest.fixture
def pictures(tmp_path: Path, picture: Callable[..., bytes]) -> Path:
    for number, name in enumerate(("cat/0.png", "cat/1.png", "dog/0.png")):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    (tmp_path / "pictures" / "LICENCE.txt").write_text("free")
    (tmp_path / "pictures" / ".cache").mkdir()
    (tmp_path / "pictures" / ".cache" / "x.wav").write_text("not looked at")
    return tmp_path / "pictures"


def folder_spec(modality: str, encoder: dict[str, Any], path: Path, labels: list[str], **source: Any) -> dict[str, Any]:
    return {
        "mmkit": 1,
        "modalities": {modality: {"encoder": encoder}},
        "tasks": {
            "it": {"input": f"{{{modality}}}", "output": "{label}", "head": {"use": "classify", "labels": labels}},
        },
        "data": {"test": [{"task": "it", "path": str(path), **source}]},
    }


CNN = {"use": "cnn", "image_size": 8, "channels": [4]}


@pytest.mark.parametrize("streaming", [False, True])
def test_a_folder_of_pictures_is_labelled_by_its_sub_folders(pictures: Path, streaming: bool) -> None:
    spec = folder_spec("image", CNN, pictures, ["cat", "dog"], streaming=streaming)
    result = mmkit.evaluate(mmkit.build(spec))["it"]
    assert result.references == ["cat", "cat", "dog"]
    assert result.addresses == [f"{pictures}:{number}" for number in (1, 2, 3)]


@pytest.mark.parametrize("form", ["wav", "flac", "ogg", "mp3"])
def test_a_folder_of_sounds_needs_no_codec_library(tmp_path: Path, form: str) -> None:
    import numpy as np
    import soundfile

    for name in ("high", "low"):
        path = tmp_path / "sounds" / name / f"a.{form}"
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32), 16_000)
    spec = folder_spec("audio", {"use": "log-mel", "n_mels": 8}, tmp_path / "sounds", ["low", "high"])
    assert mmkit.evaluate(mmkit.build(spec))["it"].references == ["high", "low"]


def test_a_folder_of_another_modality_has_the_column_file(tmp_path: Path, install: Callable[..., Path]) -> None:
    install("dots", DOTS)
    for name in ("x/1.ecg", "y/2.ecg"):
        (tmp_path / "dots" / name).parent.mkdir(parents=True)
        (tmp_path / "dots" / name).write_text("abc")
    spec = folder_spec("dots", {"use": "dots"}, tmp_path / "dots", ["x", "y"], rename={"file": "dots"})
    assert mmkit.evaluate(mmkit.build(spec))["it"].references == ["x", "y"]


DOTS = """
from pathlib import Path
import torch
from mmkit import *

class Reader(Processor):
    def __call__(self, raw):
        return {"values": torch.full((len(Path(raw).read_text()), 2), 1.0)}
    def num_features(self, item):
        return len(item["values"])
    def collate(self, items):
        return {"values": Ragged.of([item["values"] for item in items])}

class Dots(Encoder):
    feature_dim = 2
    def processor(self):
        return Reader()
    def forward(self, batch):
        return batch["values"]

def build(context):
    return Dots()

@hookimpl
def mmkit_components():
    return [Component("encoder", "dots", "For tests.", "plug_dots:build", "mmkit:Config", modality="dots")]
"""


@pytest.mark.parametrize("form", [".jsonl", ".csv", ".parquet"])
def test_a_metadata_file_gives_the_columns(pictures: Path, form: str) -> None:
    rows = [{"file_name": "dog/0.png", "label": "big"}, {"file_name": "cat/1.png", "label": "small"}]
    write(pictures / f"metadata{form}", rows)
    spec = folder_spec("image", CNN, pictures, ["big", "small"])
    assert mmkit.evaluate(mmkit.build(spec))["it"].references == ["big", "small"]


def test_splits_of_a_folder_are_its_sub_folders(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    for split, count in (("train", 3), ("test", 2)):
        for number in range(count):
            path = tmp_path / "d" / split / "cat" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(number))
    for split, count in (("train", 3), ("test", 2)):
        spec = folder_spec("image", CNN, tmp_path / "d", ["cat", "dog"], split=split)
        assert len(mmkit.evaluate(mmkit.build(spec))["it"].predictions) == count
    with pytest.raises(mmkit.DataError) as caught:
        mmkit.evaluate(mmkit.build(folder_spec("image", CNN, tmp_path / "d", ["cat", "dog"], split="tests")))
    assert str(caught.value) == f"{tmp_path / 'd'} has no folder 'tests' for the split: did you mean 'test'?"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "{folder} has no files"),
        (["a.png", "b.png", "c.wav"], "{folder} has files of several kinds (1 audio, 2 image); name them in a JSONL or CSV file instead"),
        (["a.png", "metadata.csv"], "{folder}/metadata.csv needs a column 'file_name': did you mean 'filename'?"),
    ],
)  # fmt: skip
def test_folders_that_cannot_be_read_are_named(tmp_path: Path, files: list[str], message: str) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    for name in files:
        (folder / name).write_text("filename,label\na.png,x\n")
    with pytest.raises(mmkit.DataError) as caught:
        mmkit.evaluate(mmkit.build(folder_spec("image", CNN, folder, ["x", "y"])))
    assert str(caught.value) == message.format(folder=folder)


def test_pictures_inside_a_parquet_file_are_bytes(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    rows = [{"image": {"bytes": picture(n), "path": f"{n}.png"}, "label": "xy"[n]} for n in range(2)]
    write(tmp_path / "rows.parquet", rows)
    spec = folder_spec("image", CNN, tmp_path / "rows.parquet", ["x", "y"])
    assert mmkit.evaluate(mmkit.build(spec))["it"].references == ["x", "y"]
    write(tmp_path / "rows.parquet", [{"image": row["image"]["bytes"], "label": row["label"]} for row in rows])  # type: ignore[index]
    assert mmkit.evaluate(mmkit.build(spec))["it"].references == ["x", "y"]


def refusal(spec: dict[str, Any], **source: Any) -> str:
    with pytest.raises(mmkit.DataError) as caught:
        rows_of(spec, **source)
    return str(caught.value)


def test_sources_that_cannot_be_read_are_named(mood: dict[str, Any], tmp_path: Path) -> None:
    def file(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    good = '{"text": "a", "label": "pos"}\n'
    assert refusal(mood, path=str(tmp_path / "no.jsonl")) == f"no file matches {tmp_path / 'no.jsonl'}"
    path = file("rows.xyz", "x")
    assert refusal(mood, path=path) == f"{path} is not a known format: allowed: .csv, .json, .jsonl, .parquet, .tsv"
    path = file("torn.jsonl", good * 2 + '{"text": "b", "lab')
    assert refusal(mood, path=path) == (
        f"cannot read {path}:3: not JSON: Unterminated string starting at: line 1 column 15 (char 14)"
    )
    path = file("list.jsonl", good + "[1, 2]\n")
    assert refusal(mood, path=path) == f"cannot read {path}:2: a row is an object {{column: value}}, got list"
    path = file("ragged.csv", "text,label\na,pos\na,b,c,d\n")
    assert refusal(mood, path=path) == (
        f"cannot read {path}: ParserError: Error tokenizing data. C error: Expected 2 fields in line 3, saw 4"
    )
    path = file("bad.parquet", b"PAR1 nothing more PAR1")
    assert refusal(mood, path=path).startswith(f"cannot read {path}: ArrowInvalid: Parquet file size is 22 bytes")


def test_columns_that_are_not_there_are_named(mood: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"txt": "a", "label": "pos", "title": "b"}])
    assert refusal(mood, path=str(path)) == (
        f"task 'mood' needs column 'text', which {path} does not have: did you mean 'txt'?"
    )
    assert refusal(mood, path=str(path), rename={"tex": "text"}) == (
        f"{path} has no column 'tex' to rename: did you mean 'txt'?"
    )
    assert refusal(mood, path=str(path), rename={"txt": "label"}) == (
        f"{path}: 'txt' cannot be renamed to 'label', which is the name of another column"
    )
    assert refusal(mood, path=str(path), rename={"txt": "text", "title": "text"}) == (
        f"{path}: 'txt' cannot be renamed to 'text', which is the name of another column"
    )
    assert rows_of(mood, path=str(path), rename={"txt": "text"})[0]["text"] == "a"
