"""What ``mmkit new recipe`` writes runs, is tested, and is completed by editors."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

import mmkit
from mmkit.scaffold import Made, new_recipe
from tests.scaffold.conftest import python


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A recipe with both joints in its name."""
    return new_recipe("heart-beats_2", output=tmp_path_factory.mktemp("recipes") / "heart")


def test_a_recipe_is_complete(recipe: Made) -> None:
    assert set(recipe.files) == {
        *(".gitignore", "README.md", "prepare.py", "spec.yaml", "test_heart_beats_2.py", "mmkit.schema.json")
    }
    assert recipe.commands == (
        f"cd {recipe.folder}",
        "python prepare.py",
        "mmkit train spec.yaml",
        "mmkit evaluate runs/heart-beats_2",
        "pytest",
    )
    for name in recipe.files:
        assert "{%" not in (recipe.folder / name).read_text("utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "."], cwd=recipe.folder, check=False
    )
    assert done.returncode == 0


def test_editors_complete_the_spec(recipe: Made) -> None:
    text = (recipe.folder / "spec.yaml").read_text("utf-8")
    assert text.startswith("# yaml-language-server: $schema=mmkit.schema.json\n")
    schema = json.loads((recipe.folder / "mmkit.schema.json").read_text("utf-8"))
    jsonschema.validate(yaml.safe_load(text), schema)
    assert mmkit.check(recipe.folder / "spec.yaml", static=True)


def test_the_readme_has_a_row_for_every_task_and_names_the_commands(recipe: Made) -> None:
    readme = (recipe.folder / "README.md").read_text("utf-8")
    tasks = yaml.safe_load((recipe.folder / "spec.yaml").read_text("utf-8"))["tasks"]
    assert re.findall(r"^\| (\w+) \|", readme.partition("## Measured")[2], re.MULTILINE)[1:] == list(tasks)
    assert all(command in readme for command in recipe.commands[1:4])


@pytest.mark.slow
def test_data_are_made_and_the_recipes_own_tests_pass(recipe: Made) -> None:
    said = python("prepare", folder=recipe.folder)
    assert re.fullmatch(r"train rows: \d+\ntest rows: \d+\naccuracy of the commonest label: 0\.\d+\n", said)
    rows = [json.loads(line) for line in (recipe.folder / "data" / "test.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) > 100
    for row in rows:
        words = row["text"].split()
        assert words.count(row["label"]) == max(map(words.count, words))
    assert "3 passed" in python("pytest", "-q", "-p", "no:cacheprovider", folder=recipe.folder)
    assert not Path(recipe.folder / "runs").exists(), "tests leave the folder as it is"
