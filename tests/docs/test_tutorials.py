"""Every tutorial is run as it is written, in an empty folder, with the conformance kit on each component that it shows."""

import importlib.util
import re
from pathlib import Path

import pytest

from tests.docs.test_docs_run import DOCS, Reader, anchors, blocks_of, folder

__all__ = ["folder"]
PAGES = sorted((DOCS / "tutorials").glob("*.md"))
NEEDS = {"bring-a-keras-model": "keras"}
LONG = {
    "write-a-backbone",
    "write-a-codec",
    "bring-a-hugging-face-model",
    "bring-a-keras-model",
}  # run with the slow tests only
EXAMPLE = DOCS.parent / "examples" / "mmkit-ecg"


@pytest.fixture
def needed(request: pytest.FixtureRequest) -> None:
    """Skips a page whose package is not here."""
    package = NEEDS.get(request.getfixturevalue("page").stem)
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"the page needs {package}")


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem not in LONG], ids=lambda page: page.stem)
def test_tutorial_runs_as_it_is_written(page: Path, folder: Path) -> None:
    Reader(page, unrun=("mmkit conform",)).read()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tutorial_runs_and_its_components_are_gold(page: Path, folder: Path, needed: None) -> None:
    Reader(page).read()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tutorial_shows_the_interface_the_scorecard_and_the_pitfalls(page: Path) -> None:
    text = page.read_text("utf-8")
    plugin = re.search(r'^name = "(mmkit-\w+)"$', text, re.MULTILINE)
    assert plugin, "the page makes no distribution"
    assert re.search(rf"^\$ mmkit conform {plugin[1]}\n\.\.\.\n(\S+ +\w+ +gold \.\.\.\n)+```", text, re.MULTILINE)
    pitfalls = text.partition("\n## Pitfalls\n")[2]
    assert pitfalls.count("\n| ") > 5
    for name in re.findall(
        r"`(\w+)`", "".join(row.split("|")[2] for row in pitfalls.splitlines() if row.count("|") > 3)
    ):
        assert f"`{name}`" in (DOCS / "checks.md").read_text("utf-8"), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of_tutorials_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    assert len(re.findall(r"^\s*```", text, re.MULTILINE)) == 2 * len(blocks_of(text)), "an indented or open fence"
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(#[^)]*)?\)", text):
        if not target.startswith("https://"):
            there = page.parent / target if target else page
            assert there.is_file(), f"{target} is not there"
            assert anchor in ("", *anchors(there.read_text("utf-8"))), f"{target} has no heading {anchor}"


def test_the_encoder_of_the_tutorial_is_that_of_the_example() -> None:
    blocks = blocks_of((DOCS / "tutorials" / "write-an-encoder.md").read_text("utf-8"))
    shown = {
        block.title.removeprefix("mmkit-ecg/"): block.text for block in blocks if block.title.startswith("mmkit-ecg/")
    }
    files = ["pyproject.toml", *(str(path.relative_to(EXAMPLE)) for path in (EXAMPLE / "mmkit_ecg").glob("*.py"))]
    assert shown == {name: (EXAMPLE / name).read_text("utf-8") for name in files}
