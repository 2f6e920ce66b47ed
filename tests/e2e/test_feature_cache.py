"""A frozen encoder with its features from the cache trains as it does without: bit for bit, from any mixture of both."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from mmkit_image.processor import ImageProcessor
from PIL import Image
from typer.testing import CliRunner

import mmkit
from mmkit.cli.app import app
from mmkit.data.cache.folder import default_folder, encoders
from mmkit.data.cache.use import feature_caches
from mmkit.model.batch import Media, pack

COUNT = 10
FIT = {"text": ["ab and :"]}
DRAWN = 2 * 3 * COUNT  # two pictures a row, three passes
Run: TypeAlias = tuple[list[float], list[torch.Tensor], list[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of two pictures, of which some come in several rows."""
    folder = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        Image.fromarray(rng.integers(0, 255, (24, 24, 3), np.uint8)).save(folder / f"{number}.png")
    rows = [
        {"image": f"{n}.png", "other": f"{n // 2}.png", "text": "ab" * (n % 3), "label": "yn"[n % 2]}
        for n in range(COUNT)
    ]
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return folder


@pytest.fixture
def spec(folder: Path) -> dict[str, Any]:
    return spec_of(folder)


def spec_of(folder: Path) -> dict[str, Any]:
    """A frozen network and a small transformer."""
    source = {"task": "same", "path": str(folder / "rows.jsonl")}
    cnn = {"use": "cnn", "image_size": 16, "channels": [4, 8], "norm": "batch", "dropout": 0.5}
    return {
        "mmkit": 1,
        "modalities": {
            "image": {"encoder": cnn, "adapter": "linear"},
            "text": {"adapter": {"use": "characters"}},
        },
        "backbone": {"use": "transformer", "dim": 16, "layers": 1, "heads": 2},
        "tasks": {
            "same": {
                "input": "{image} and {other}: {text}",
                "columns": {"other": "image"},
                "output": "{label}",
                "head": {"use": "classify", "labels": ["y", "n"]},
            }
        },
        "data": {"train": [source], "test": [source]},
        "train": {
            "log_every": 1,
            "cache": "auto",
            "stages": [
                {"name": "head", "train": ["image.adapter", "backbone", "same.head"], "epochs": 3, "batch_size": 4}
            ],
        },
    }


@pytest.fixture(scope="module")
def plain(folder: Path) -> Run:
    """What a training gives without a cache."""
    return run(spec_of(folder), "never")


def run(spec: dict[str, Any], cache: Any, **data: Any) -> Run:
    """Losses of every step, final weights, and lines about the cache."""
    changed = json.loads(json.dumps(spec))
    changed["train"]["cache"] = cache
    changed["data"].update(data)
    losses: list[float] = []
    said: list[str] = []

    def step(stage: str, at: int, of: int, logs: dict[str, float]) -> None:
        if "loss" in logs:
            losses.append(logs["loss"])

    output = Path(spec["data"]["train"][0]["path"]).parent / "model"
    model = mmkit.train(changed, output=output, say=said.append, step=step)
    return losses, list(model.state_dict().values()), [line for line in said if line.startswith("feature cache")]


def equal(one: Run, other: Run) -> bool:
    same = all(torch.equal(a, b) for a, b in zip(one[1], other[1], strict=True))
    return len(one[0]) == 8 and one[0] == other[0] and same


def near(one: Run, other: Run) -> bool:
    """Where an encoder had fewer items at a time: some kernels (of AMD's processors) round otherwise for them."""
    same = all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(one[1], other[1], strict=True))
    return len(one[0]) == 8 and torch.allclose(torch.tensor(one[0]), torch.tensor(other[0]), atol=1e-5) and same


def line(hits: int, misses: int, entries: int) -> str:
    (kept,) = encoders(default_folder())
    return (
        f"feature cache: image.encoder: {hits} hits, {misses} misses; "
        f"{entries} entries, {kept.size / 1000:.1f}KB in {kept.folder}"
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_losses_and_weights_equal_those_without_a_cache(spec: dict[str, Any], plain: Run, workers: int) -> None:
    assert plain[2] == []
    first = run(spec, "auto", workers=workers)
    again = run(spec, "auto", workers=workers)
    assert equal(first, plain)
    assert equal(again, plain)
    assert first[2] == [line(DRAWN - COUNT, COUNT, COUNT)]
    assert again[2] == [line(DRAWN, 0, COUNT)]


def test_bf16_features_are_kept_as_they_are(spec: dict[str, Any]) -> None:
    spec["train"]["precision"] = "bf16"
    spec["modalities"]["image"]["encoder"] |= {"positions": False}  # which are float32, and make the sum so
    first = run(spec, False)
    assert equal(run(spec, True), first)
    assert equal(run(spec, True), first)
    (kept,) = encoders(default_folder())
    (data,) = kept.folder.glob("*.data")
    assert data.stat().st_size == COUNT * 16 * 8 * 2


def test_batches_that_are_half_in_the_cache_equal_those_that_are_not(spec: dict[str, Any], plain: Run) -> None:
    source = spec["data"]["train"][0]
    run(spec, True, train=[{**source, "limit": 3}])
    mixed = run(spec, True)
    assert near(mixed, plain)
    assert mixed[2] == [line(DRAWN - (COUNT - 3), COUNT - 3, COUNT)]


def test_full_cache_changes_nothing_but_the_time(spec: dict[str, Any], plain: Run, tmp_path: Path) -> None:
    full = run(spec, {"size": 6400, "folder": str(tmp_path / "small")})
    assert near(full, plain)
    (kept,) = encoders(tmp_path / "small")
    assert 0 < kept.entries < COUNT
    assert full[2][0] == (
        f"feature cache: image.encoder: nothing more is added: train.cache.size is 6.4KB, and {kept.size / 1000:.1f}KB "
        "are in use; `mmkit cache` shows what is kept"
    )


def test_damaged_segment_is_named_and_changes_nothing(spec: dict[str, Any], plain: Run) -> None:
    run(spec, "auto")
    (kept,) = encoders(default_folder())
    (index,) = kept.folder.glob("*.index")
    data = bytearray(index.with_suffix(".data").read_bytes())
    data[::50] = bytes(255 - byte for byte in data[::50])
    index.with_suffix(".data").write_bytes(data)
    again = run(spec, "auto", workers=2)
    assert equal(again, plain)
    assert again[2][0] == (
        f"feature cache: image.encoder: {index} is damaged (a checksum differs): its damaged entries are ignored and "
        f"computed again; `mmkit cache clear {kept.folder.name}` removes them"
    )
    assert again[2][1].startswith(f"feature cache: image.encoder: {DRAWN - COUNT} hits, {COUNT} misses; ")


def test_processor_that_draws_at_random_is_never_cached(spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageProcessor, "deterministic", False)
    assert mmkit.Processor.deterministic is False
    model, said = mmkit.build(spec, fit=FIT), list[str]()
    with feature_caches(model, ["image"], say=said.append):
        assert model.caches == {}
        assert model.preparer().caches == {}
    assert said == ["feature cache: image.encoder: off, its processor does not say that it is deterministic"]
    assert encoders(default_folder()) == []


def test_values_without_bytes_of_their_own_are_found_by_what_they_become(spec: dict[str, Any]) -> None:
    model = mmkit.build(spec, fit=FIT).eval()
    arrays = np.random.default_rng(1).integers(0, 255, (2, 24, 24, 3), np.uint8)
    row = {"image": arrays[0], "other": {"array": 3, "bytes": None}, "text": "", "label": "y"}
    with feature_caches(model, ["image"]):
        prepare = model.preparer()
        with pytest.raises(mmkit.SampleError, match="an image given as a mapping needs 'bytes' or a 'path'"):
            prepare("same", row)
        row["other"] = arrays[1]
        first = prepare("same", row)
        loss = model(pack([first], model.processors()))["loss"]
        model.caches["image"].flush()
        again = prepare("same", row)
        assert [part.rows is None for part in first.parts if isinstance(part, Media)] == [True, True]
        assert [part.rows is None for part in again.parts if isinstance(part, Media)] == [False, False]
        assert torch.equal(model(pack([again], model.processors()))["loss"], loss)


def test_only_frozen_encoders_are_cached_and_auto_asks_for_rows_that_recur(spec: dict[str, Any]) -> None:
    stage = spec["train"]["stages"][0]
    stage["epochs"] = 1
    assert run(spec, "auto")[2] == []
    assert len(run(spec, "always")[2]) == 1
    shutil.rmtree(default_folder())
    stage["train"] = [*stage["train"], "image.encoder.first.*"]
    stage["epochs"] = 2
    assert run(spec, "always")[2] == []
    assert encoders(default_folder()) == []


def test_stages_evaluation_and_later_runs_share_what_is_kept(spec: dict[str, Any], folder: Path) -> None:
    stage = {**spec["train"]["stages"][0], "epochs": 1}
    spec["train"]["stages"] = [stage, {**stage, "name": "again"}]
    said = run(spec, "auto")[2]
    assert said == [line(COUNT, COUNT, COUNT), line(2 * COUNT, 0, COUNT)]
    lines: list[str] = []
    result = mmkit.evaluate(folder / "model", say=lines.append)["same"]
    assert lines == [line(2 * 2 * COUNT, 0, COUNT)]
    shutil.rmtree(default_folder())
    lines.clear()
    anew = mmkit.evaluate(folder / "model", say=lines.append)["same"]
    assert lines == [line(2 * 2 * COUNT - COUNT, COUNT, COUNT)]
    assert anew.metrics == result.metrics
    assert anew.predictions == result.predictions


def test_an_encoder_that_a_stage_trains_is_evaluated_without_a_cache(spec: dict[str, Any]) -> None:
    spec["train"]["stages"][0]["train"] = "*"
    lines: list[str] = []
    mmkit.evaluate(mmkit.build(spec, fit=FIT), say=lines.append)
    assert lines == []
    assert encoders(default_folder()) == []


def test_folder_that_cannot_be_written_costs_the_cache_and_not_the_run(spec: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spec["train"]["cache"] = {"folder": str(tmp_path / "file")}
    model, said = mmkit.build(spec, fit=FIT), list[str]()
    with feature_caches(model, ["image"], say=said.append):
        assert model.caches == {}
    assert said == [f"feature cache: image.encoder: off, {tmp_path / 'file'} cannot be written (Not a directory)"]


def test_spec_says_what_is_wrong_with_its_cache(spec: dict[str, Any]) -> None:
    spec["train"]["cache"] = {"size": "ten", "folder": 3, "uses": "auto"}
    with pytest.raises(mmkit.SpecError) as caught:
        mmkit.build(spec)
    assert [str(problem) for problem in caught.value.problems] == [
        "train.cache.size: could not parse value and unit from byte string (got 'ten')",
        "train.cache.folder: Input should be a valid string (got 3)",
        "train.cache.uses: unknown key 'uses': did you mean 'use'?",
    ]
    spec["train"]["cache"] = "sometimes"
    with pytest.raises(mmkit.SpecError) as caught:
        mmkit.build(spec)
    assert [str(problem) for problem in caught.value.problems] == [
        "train.cache.use: Input should be 'auto', 'always' or 'never' (got 'sometimes')"
    ]


def test_cache_command_shows_and_clears(spec: dict[str, Any], tmp_path: Path) -> None:
    runner = CliRunner(env={"COLUMNS": "200"})
    folder = default_folder()
    assert runner.invoke(app, ["cache"]).output.splitlines()[-1] == f"0 encoders, 0B in {folder}"
    run(spec, "auto")
    (kept,) = encoders(folder)
    shown = runner.invoke(app, ["cache"]).output
    size = f"{kept.size / 1000:.1f}KB"
    for text in (kept.folder.name, "image.encoder: image/cnn 0.1.0", "image_size: 16", f" {COUNT} ", size):
        assert text in shown
    assert shown.splitlines()[-1] == f"1 encoders, {size} in {folder}"
    failed = runner.invoke(app, ["cache", "clear", "image/cn"])
    assert str(failed.exception) == f"nothing is kept of 'image/cn' in {folder}: did you mean 'image/cnn'?"
    cleared = runner.invoke(app, ["cache", "clear", "image/cnn"])
    assert cleared.output == f"removed 1 of 1 encoders, {size}, from {folder}\n"
    assert encoders(folder) == []
    other = runner.invoke(app, ["cache", "--folder", str(tmp_path), "clear"])
    assert other.output == f"removed 0 of 0 encoders, 0B, from {tmp_path}\n"


def test_cache_command_imports_no_torch() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom mmkit.cli.app import app\n"
        "assert CliRunner().invoke(app, ['cache']).exit_code == 0\n"
        "print([name for name in ('torch', 'numpy', 'transformers') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_cache_in_use_is_not_cleared(spec: dict[str, Any]) -> None:
    model = mmkit.build(spec, fit=FIT)
    with feature_caches(model, ["image"]):
        (kept,) = encoders(default_folder())
        output = CliRunner().invoke(app, ["cache", "clear"]).output
        assert output.splitlines()[0] == f"{kept.folder.name} is in use, it stays"
        assert kept.in_use
    (kept,) = encoders(default_folder())
    assert not kept.in_use
    assert model.caches == {}
