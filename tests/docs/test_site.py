"""The documentation site: built strictly, every link leads somewhere, nothing comes from another host."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

pytest.importorskip("math_core", reason="pip install -r requirements/docs.txt")

import mmkit
from docs.building import decisions, mathml, on_config

DOCS = Path(__file__).parents[2] / "docs"
HOST = "https://docs.test/"


class Page(HTMLParser):
    """What matters of one HTML file: ids, links, resources, formulas, and text of paragraphs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.formulas = 0
        self.paragraphs: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.open.append(tag)
        self.ids.update(given[name] for name in ("id", "name") if name in given)
        self.formulas += tag == "math"
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in ("script", "img", "iframe", "source") and "src" in given:
            self.resources.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.resources.append(given["href"])
        if tag == "p":
            self.paragraphs.append("")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "p" in self.open and "code" not in self.open:
            self.paragraphs[-1] += data


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    """Every page by its address."""
    return {address(path, site): Page(path.read_text("utf-8")) for path in site.rglob("*.html")}


def address(path: Path, site: Path) -> str:
    return HOST + str(path.relative_to(site)).removesuffix("index.html")


def parts(pages: dict[str, Page], kind: str) -> Iterator[tuple[str, str]]:
    for here, page in pages.items():
        for target in getattr(page, kind):
            yield here, urljoin(here, target)


def test_every_page_of_the_docs_is_on_the_site(site: Path, pages: dict[str, Page]) -> None:
    for source in DOCS.rglob("*.md"):
        name = source.relative_to(DOCS).with_suffix("")
        folder = name.parent if name.stem in ("index", "README") else name
        assert (site / folder / "index.html").is_file(), source
    assert len(pages) > 40


def test_every_link_inside_leads_to_a_page_and_a_heading(site: Path, pages: dict[str, Page]) -> None:
    checked = 0
    for here, link in parts(pages, "links"):
        if not link.startswith(HOST):
            assert urlsplit(link).scheme == "https", f"{here} links to {link}"
            continue
        page, _, anchor = link.partition("#")
        if page in pages:
            assert not anchor or unquote(anchor) in pages[page].ids, f"{here} links to {link}"
        else:
            assert (site / page.removeprefix(HOST)).is_file(), f"{here} links to {link}"
        checked += 1
    assert checked > 1000


def test_no_page_loads_anything_from_another_host(site: Path, pages: dict[str, Page]) -> None:
    loaded = list(parts(pages, "resources"))
    assert len(loaded) > 100
    for here, resource in loaded:
        assert resource.startswith(HOST), f"{here} loads {resource}"
        assert (site / unquote(urlsplit(resource).path).lstrip("/")).is_file(), f"{here} loads {resource}"


def test_formulas_are_mathml_on_every_theory_page(pages: dict[str, Page]) -> None:
    theory = {here: page for here, page in pages.items() if "/theory/" in here}
    assert len(theory) >= 7
    for here, page in theory.items():
        source = (DOCS / "theory" / f"{here.rstrip('/').rpartition('/')[2]}.md").read_text("utf-8")
        prose = re.sub(r"^```.*?^```", "", source, flags=re.MULTILINE | re.DOTALL)
        blocks = re.findall(r"^\$\$\n.*?^\$\$$", prose, re.MULTILINE | re.DOTALL)
        inline = re.findall(r"\$[^$]+\$", re.sub(r"^\$\$\n.*?^\$\$$", "", prose, flags=re.MULTILINE | re.DOTALL))
        assert blocks
        assert page.formulas == len(blocks) + len(inline), here


def test_the_python_api_has_every_name_with_its_signature(site: Path, pages: dict[str, Page]) -> None:
    here = "python-api/"
    assert {name.lower() for name in mmkit.__all__} <= pages[HOST + here].ids
    text = re.sub(r"<[^>]+>", "", (site / here / "index.html").read_text("utf-8"))
    for shown in ("mmkit.build(\n    spec: ", "fit: Mapping[str, Iterable[Any]] | None = None", "reorder(", "Raises:"):
        assert shown in text


def test_paragraphs_are_paragraphs(pages: dict[str, Page]) -> None:
    """A list or a table right below a line of text is one on GitHub, and only text for MkDocs."""
    for here, page in pages.items():
        for text in page.paragraphs:
            assert not re.search(r"^\s*(\* |- |1\. |\|)|\$\$|\\\(", text, re.MULTILINE), f"{here}: {text}"


def test_a_formula_that_cannot_be_shown_stops_the_build() -> None:
    assert "<mfrac>" in mathml(r"\frac{a}{b}", block=True)
    assert mathml("x", block=False) == "<math><mi>x</mi></math>"
    said = r"""the formula '\\nosuchcommand x' cannot be shown: 0: Unknown command "\nosuchcommand"."""
    with pytest.raises(ValueError, match=re.escape(said)):
        mathml(r"\nosuchcommand x", block=True)


def test_patterns_of_the_navigation_become_the_pages_that_are_there() -> None:
    config = {"nav": [{"Home": "index.md"}, {"Theory": ["theory/ctc.md", "theory/*"]}, {"Nothing": ["nowhere/*"]}]}
    home, theory = on_config(config)["nav"]
    assert home == {"Home": "index.md"}
    assert theory["Theory"][:3] == ["theory/ctc.md", "theory/attention.md", "theory/contrastive.md"]
    assert theory["Theory"].count("theory/ctc.md") == 1


def test_every_decision_is_listed() -> None:
    listed = re.findall(r"^\* \[\d+\. .+\]\((.+)\)$", decisions(), re.MULTILINE)
    assert listed == sorted(path.name for path in (DOCS / "decisions").glob("0*.md"))
