"""Every recipe's README and the index say what is there: command, spec, a measured table, no placeholder."""

import re
from pathlib import Path

import pytest

from recipes.common.readme import contradictions, excerpts, specs_of

HERE = Path(__file__).parent
RECIPES = sorted(path.parent.name for path in HERE.glob("*/__main__.py"))
PLACEHOLDER = re.compile(r"@@|\bTODO\b|\bTBD\b|\bXXX\b")


def readme(recipe: str) -> str:
    return (HERE / recipe / "README.md").read_text("utf-8")


def test_there_are_thirteen_recipes_beside_the_quickstart() -> None:
    assert len(RECIPES) == 13


@pytest.mark.parametrize("recipe", RECIPES)
def test_readme_names_the_command_alone_in_a_block(recipe: str) -> None:
    assert f"```\npython -m recipes.{recipe}\n```" in readme(recipe)


@pytest.mark.parametrize("recipe", RECIPES)
def test_readme_shows_a_spec_that_the_files_do_not_contradict(recipe: str) -> None:
    shown = excerpts(readme(recipe))
    assert shown
    assert [contradictions(excerpt, specs_of(HERE / recipe)) for excerpt in shown] == [[] for _ in shown]


@pytest.mark.parametrize("recipe", RECIPES)
def test_readme_has_a_measured_table_and_no_placeholder(recipe: str) -> None:
    text = readme(recipe)
    measured = text.partition("\n## Measured\n")[2].partition("\n## ")[0]
    assert re.search(r"^\|.*\d.*\|$", measured, re.MULTILINE)
    assert PLACEHOLDER.findall(text) == []


@pytest.mark.parametrize("recipe", RECIPES)
def test_index_links_the_recipe(recipe: str) -> None:
    assert f"]({recipe}/README.md)" in (HERE / "README.md").read_text("utf-8")


def test_contradiction_is_found_at_any_depth() -> None:
    specs = {"spec.yaml": {"tasks": {"tone": {"head": {"use": "classify", "labels": ["a", "b"], "dropout": 0.2}}}}}
    agrees = {"head": {"use": "classify", "labels": ["a", "b"], "…": None}}
    assert contradictions(agrees, specs) == []
    assert contradictions({"head": {"dropout": 0.1}}, specs) == ["head: {'dropout': 0.1}"]
    assert contradictions({"head": {"labels": ["a"]}}, specs) == ["head: {'labels': ['a']}"]
