"""``examples/mmkit-ecg``: built and installed by pip as a third party's plugin, and used from the command line."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml

import mmkit

EXAMPLE = Path(__file__).parents[2] / "examples" / "mmkit-ecg"
MMKIT = ["-m", "mmkit"]


def python(*words: str, folder: Path, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A new process, which sees the plugin only where ``site`` is given."""
    path = [*([str(site)] if site else []), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip has installed the example's wheel, away from the environment of the tests."""
    folder = tmp_path_factory.mktemp("third-party")
    shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("data", "model", "__pycache__"))
    offline = ["--no-deps", "--no-index", "--quiet"]
    built = python(
        "-m", "pip", "wheel", *offline, "--no-build-isolation", "--wheel-dir", ".", "./source", folder=folder
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("mmkit_ecg-*.whl")
    done = python("-m", "pip", "install", *offline, "--target", "site", str(wheel), folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def simulate() -> ModuleType:
    """The data script."""
    spec = importlib.util.spec_from_file_location("ecg_simulate", EXAMPLE / "simulate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ecg_simulate"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_the_plugin_is_at_most_130_lines_of_source_and_its_drawings_60() -> None:
    files = {path.name: path.read_text("utf-8").count("\n") for path in (EXAMPLE / "mmkit_ecg").rglob("*.py")}
    assert len(files) == 6
    assert files.pop("drawing.py") <= 60
    assert sum(files.values()) <= 130


def test_the_plugin_imports_the_public_names_only() -> None:
    for path in (EXAMPLE / "mmkit_ecg").glob("*.py"):
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("from mmkit"):
                assert line.split()[1].startswith("mmkit_ecg") or line.split()[1] in ("mmkit", "mmkit.testing"), line


def test_installed_by_pip_it_is_listed_and_gold(site: Path, tmp_path: Path) -> None:
    listed = python(*MMKIT, "plugins", "--json", folder=tmp_path, site=site)
    assert listed.returncode == 0, listed.stderr
    found = {one["name"]: one for one in json.loads(listed.stdout)}["ecg"]
    assert (found["status"], found["distribution"], found["version"]) == ("loaded", "mmkit-ecg", "0.1.0")
    conform = python(*MMKIT, "conform", "mmkit-ecg", "--at-least", "gold", folder=tmp_path, site=site)
    assert conform.returncode == 0, conform.stdout + conform.stderr
    (row,) = [line.split() for line in conform.stdout.splitlines() if line.startswith("ecg/ecg")]
    assert (row[1:3], row[4:6]) == (["encoder", "gold"], ["0", "0"])


@pytest.fixture(scope="module")
def trained(site: Path, simulate: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example's spec, made small, its data, and its model, trained from the command line."""
    folder = tmp_path_factory.mktemp("ecg")
    (folder / "data").mkdir()
    for part, count, seed in (("train", 40, 0), ("valid", 5, 200_000), ("test", 10, 400_000)):
        rows = "".join(json.dumps(row) + "\n" for row in simulate.rows(count, seed))
        (folder / "data" / f"{part}.jsonl").write_text(rows, "utf-8")
    spec = yaml.safe_load((EXAMPLE / "ecg.yaml").read_text("utf-8"))
    spec["modalities"]["ecg"]["encoder"]["dim"] = 16
    spec["backbone"].update(dim=16, layers=1, heads=2)
    spec["train"]["stages"][0].update(steps=40, batch_size=8, lr=1e-2)
    (folder / "ecg.yaml").write_text(yaml.safe_dump(spec), "utf-8")
    done = python(*MMKIT, "train", "ecg.yaml", "--output", "model", folder=folder, site=site)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_fresh_process_answers_from_the_command_line(trained: Path, site: Path, simulate: ModuleType) -> None:
    (row,) = simulate.rows(1, 999)
    (trained / "patient.txt").write_text("\n".join(map(str, row["ecg"])), "utf-8")
    done = python(*MMKIT, "predict", "model", "--task", "report", "--ecg", "patient.txt", folder=trained, site=site)
    assert done.returncode == 0, done.stderr
    known = {word for part in simulate.REPORTS.values() for word in part.split()} | {*simulate.COUNTS, "beat"}
    said = done.stdout.split()
    assert len(said) > 3
    assert all(word in known or word.isdigit() for word in said), done.stdout


def test_without_the_plugin_its_model_says_what_to_install(trained: Path) -> None:
    done = python(*MMKIT, "predict", "model", "--task", "rhythm", "--ecg", "patient.txt", folder=trained)
    assert done.returncode == 2
    assert "pip install mmkit-ecg" in done.stderr


def test_simulated_beats_come_when_the_subject_says(simulate: ModuleType) -> None:
    subjects = [simulate.subject(rhythm, seed) for seed, rhythm in enumerate(simulate.RHYTHMS)]
    for one, ecg in zip(subjects, simulate.record(subjects), strict=True):
        assert np.isfinite(ecg).all()
        slope = np.abs(np.diff(ecg))
        near = np.zeros(len(slope), dtype=bool)
        for peak in one.peaks[one.seen()]:
            near[int((peak - 0.06) * simulate.RATE) : int((peak + 0.08) * simulate.RATE)] = True
        assert slope[near].max() > 2 * np.quantile(slope[~near], 0.9), one.rhythm
        low, high = simulate.RATES[one.rhythm]
        assert 0.8 * low < one.rate() < 1.25 * high


def test_subjects_are_others_in_every_part_and_the_same_in_every_run(simulate: ModuleType) -> None:
    first, again, other = (simulate.rows(5, seed) for seed in (0, 0, 400_000))
    assert first == again
    assert [row["rhythm"] for row in first] == list(simulate.RHYTHMS)
    assert all(one["ecg"][:50] != row["ecg"][:50] for one, row in zip(first, other, strict=True))
    assert {row["report"].partition(" at ")[0] for row in first} > {"Sinus rhythm", "Fast sinus rhythm"}


def test_the_processor_reads_files_as_well_as_lists(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(site))
    from mmkit_ecg.encoder import EcgProcessor

    processor = EcgProcessor(rate=128, max_seconds=1, stride=32)
    (tmp_path / "ecg.txt").write_text("0.5\n1.5\n-1", "utf-8")
    assert np.array_equal(processor(tmp_path / "ecg.txt")["ecg"], processor([0.5, 1.5, -1])["ecg"])
    with pytest.raises(mmkit.SampleError) as caught:
        processor([0.0] * 129)
    assert str(caught.value) == "wanted 1 to 128 numbers in one row, got the shape [129]"
