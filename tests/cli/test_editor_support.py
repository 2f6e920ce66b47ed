"""Editors: every recipe names the schema that `mmkit schema` writes, which knows installed plugins; packages are typed."""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from mmkit.discovery import discover
from mmkit.wiring.schema import json_schema
from tests.cli.conftest import Run

ROOT = Path(__file__).parents[2]
SPECS = sorted(path for path in (ROOT / "recipes").rglob("*.y*ml") if "mmkit: 1" in path.read_text("utf-8"))
PACKAGES = {ROOT: "mmkit"} | {path: path.name.replace("-", "_") for path in (ROOT / "plugins").glob("mmkit-*")}
SCHEMA = "mmkit.schema.json"


def named(spec: Path) -> Path:
    """The schema that a spec's first line names."""
    first = spec.read_text("utf-8").partition("\n")[0]
    assert first.startswith("# yaml-language-server: $schema="), f"{spec} does not name its schema"
    return (spec.parent / first.partition("=")[2]).resolve()


def test_there_are_recipes() -> None:
    assert len(SPECS) >= 14


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_recipe_names_the_schema(spec: Path) -> None:
    assert named(spec) == ROOT / SCHEMA


def test_the_schema_is_made_as_the_recipes_say_and_is_not_committed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = f"mmkit schema --output {SCHEMA}"
    assert command in (ROOT / "recipes" / "README.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    assert run(*command.split()[1:]).code == 0
    assert "$defs" in json.loads((tmp_path / SCHEMA).read_text("utf-8"))
    assert SCHEMA in (ROOT / ".gitignore").read_text("utf-8").splitlines()


def test_the_schema_holds_the_options_of_an_installed_plugin(install: Callable[..., Path]) -> None:
    install(
        "pulse",
        "from mmkit import Component, Config, hookimpl\n\n"
        "class Options(Config):\n    leads: int = 12\n\n"
        "@hookimpl\ndef mmkit_components():\n"
        '    return [Component("encoder", "pulse", "A pulse.", "plug_pulse:build", "plug_pulse:Options", modality="ecg")]\n',
    )
    validator = jsonschema.Draft202012Validator(json_schema(discover()))

    def valid(**options: object) -> bool:
        encoder = {"use": "pulse", **options}
        tasks = {"t": {"input": "{ecg}", "output": "{y}", "head": {"use": "classify", "labels": ["a", "b"]}}}
        return bool(validator.is_valid({"mmkit": 1, "modalities": {"ecg": {"encoder": encoder}}, "tasks": tasks}))

    assert valid(leads=3)
    assert not valid(leads="three")
    assert not valid(leeds=3)


@pytest.mark.parametrize("folder", PACKAGES, ids=PACKAGES.get)
def test_a_package_says_that_it_is_typed(folder: Path) -> None:
    assert (folder / PACKAGES[folder] / "py.typed").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("folder", PACKAGES, ids=PACKAGES.get)
def test_its_wheel_says_so_too(folder: Path, tmp_path: Path) -> None:
    package = PACKAGES[folder]
    source = tmp_path / "source"  # setuptools writes into it
    shutil.copytree(folder / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(folder / name, source / name)
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert f"{package}/py.typed" in zipfile.ZipFile(wheel).namelist()
