"""Every block of the documentation is run as a reader would run it.

What a page may hold, in order and in one empty folder per page:

* ``python``: run, all blocks of a page in one namespace; with ``title="path"`` written to that file instead.
* ``console``: lines after ``$`` are commands, what follows is their output (stdout and stderr).
* ``text`` after ``python``: what it printed. ``...`` matches anything; a number with a decimal point matches as far as it
  is written.
* ``yaml``: with ``title`` written, and checked if it is a spec; without, a spec, or sections that fit a spec of the page.
* other languages need a ``title`` and are written. A fence without a language and ``mermaid`` are illustrations, as is ``py``
  on the generated pages.
"""

import contextlib
import functools
import importlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

import mmkit
from docs.drawing import drawings
from docs.generate import pages
from mmkit.cli.app import main
from mmkit.discovery.loader import discover
from mmkit.spec.schema import Spec

made = functools.cache(pages)
DOCS = Path(__file__).parents[2] / "docs"
ELSEWHERE = {"cli.md", "bad-input.md", "performance.md"}  # pages with tests of their own
PAGES = sorted(page for place in ("*.md", "theory/*.md") for page in DOCS.glob(place) if page.name not in ELSEWHERE)
LONG = {"generation"}  # trains several models
RUN = [pytest.param(page, marks=[pytest.mark.slow] if page.stem in LONG else [], id=page.stem) for page in PAGES]
UNRUN = {*made(), "conformance.md"}  # pages that show fragments
FENCE = re.compile(r"^(?P<ticks>`{3,})(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=ticks)$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the file it shows, its text and the line the text starts at."""

    language: str
    title: str
    text: str
    line: int


def blocks_of(markdown: str) -> list[Block]:
    found = []
    for match in FENCE.finditer(markdown):
        language, _, rest = match["info"].strip().partition(" ")
        title = re.search(r'title="([^"]+)"', rest)
        line = markdown.count("\n", 0, match.start("text")) + 1
        found.append(Block(language, title[1] if title else "", match["text"], line))
    return found


@dataclass
class Reader:
    """Runs the blocks of one page in the working folder."""

    page: Path
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})
    specs: list[dict[str, Any]] = field(default_factory=list)
    printed: str = ""
    unrun: tuple[str, ...] = ()  # beginnings of commands that are passed over

    def read(self) -> None:
        for block in blocks_of(self.page.read_text("utf-8")):
            if not block.language:
                continue
            try:
                self._block(block)
            except Exception as error:
                error.add_note(f"in the block at {self.page}:{block.line}")
                raise

    def _block(self, block: Block) -> None:
        if block.title:
            path = Path(block.title)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
        if block.language == "yaml":
            self._yaml(block)
        elif block.language == "python" and not block.title:
            code = compile("\n" * (block.line - 1) + block.text, str(self.page), "exec")
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, self.names)
            self.printed = out.getvalue()
        elif block.language == "console":
            self._console(block.text)
        elif block.language == "text":
            assert_same(block.text, self.printed)
            self.printed = ""
        elif block.language != "mermaid" and not (block.language == "py" and self.page.name in UNRUN):
            assert block.title, f"a {block.language} block without a title would go unchecked"

    def _yaml(self, block: Block) -> None:
        given = yaml.safe_load(block.text)
        sections = set(Spec.model_fields)
        if "mmkit" in given:
            self.specs.append(given)
            mmkit.check(block.title or given)
        elif not block.title:
            assert set(given) <= sections, f"{sorted(set(given) - sections)} are not sections of a spec"
            assert any(fits({**spec, **given}) for spec in self.specs), "the sections fit no spec of this page"

    def _console(self, text: str) -> None:
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            if command.startswith(self.unrun):
                continue
            forget()
            self.printed = run(shlex.split(command))
            if expected.strip():
                assert_same(expected, self.printed)


def fits(spec: dict[str, Any]) -> bool:
    with contextlib.suppress(mmkit.SpecError):
        return bool(mmkit.check(spec, static=True))
    return False


def run(words: list[str]) -> str:
    """What a command prints; commands that fetch from an index are only read."""
    if words[:2] == ["mmkit", "conform"]:
        return python("-m", *words)  # starts processes of its own, which have to find the page's plugin
    if words[0] == "mmkit":
        return run_mmkit(words)
    if words[:2] == ["pip", "install"]:
        for folder in (word for word in words[2:] if word.startswith("./")):
            if Path(folder).is_dir():
                install(folder)
            else:
                assert (DOCS.parent / folder).is_dir(), f"{folder} is neither made by the page nor in the repository"
        return ""
    if words[0] == "pytest":
        return python("-m", "pytest", "-p", "no:cacheprovider", *words[1:])
    raise AssertionError(f"no reader can run {words[0]!r} here")


def install(folder: str) -> None:
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--target", "site"]
    python("-m", "pip", "install", *offline, folder)
    sys.path[:0] = [str(Path(folder).resolve()), str(Path("site").resolve())]  # the folder first: an editable install
    forget()


def forget() -> None:
    """What a new process would not know: modules and plugins of the page."""
    for name, module in list(sys.modules.items()):
        if str(Path.cwd()) in str(getattr(module, "__file__", "")):
            del sys.modules[name]
    importlib.invalidate_caches()
    discover.cache_clear()


def python(*words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(Path("site").resolve())])}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_mmkit(words: list[str]) -> str:
    out = io.StringIO()
    before, sys.argv = sys.argv, words
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.suppress(SystemExit):
            main()
    finally:
        sys.argv = before
    return out.getvalue()


def assert_same(expected: str, got: str) -> None:
    """Equal up to white space, ``...`` and the digits that are not written."""
    pattern, wanted = [], []
    for piece in re.split(r"(\.\.\.|\s+|\d+\.\d+(?:e-?\d+)?)", expected.strip()):
        if piece == "...":
            pattern.append(".*?")
        elif piece.isspace():
            pattern.append(r"\s+")
        elif re.fullmatch(r"\d+\.\d+(?:e-?\d+)?", piece):
            pattern.append(r"(\d+\.\d+(?:e-?\d+)?)")
            wanted.append(piece)
        else:
            pattern.append(re.escape(piece))
    match = re.fullmatch("".join(pattern), got.strip(), re.DOTALL)
    assert match, f"the page shows\n{expected}\nbut this was printed\n{got}"
    for number, shown in zip(match.groups(), wanted, strict=True):
        digits = len(shown.partition("e")[0].partition(".")[2])
        assert float(number) == pytest.approx(float(shown), abs=10**-digits), f"{number}, the page shows {shown}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    forget()


@pytest.mark.parametrize("page", RUN)
def test_page_runs_as_it_is_written(page: Path, folder: Path) -> None:
    Reader(page).read()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_fence_is_seen_and_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    assert len(re.findall(r"^\s*```", text, re.MULTILINE)) == 2 * len(blocks_of(text)), "an indented or open fence"
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(#[^)]*)?\)", FENCE.sub("", text)):
        if target not in ELSEWHERE and not target.startswith("https://"):
            there = page.parent / target if target else page
            assert there.is_file(), f"{target} is not there"
            assert not anchor or anchor in anchors(there.read_text("utf-8")), f"{target} has no heading {anchor}"


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("loss 0.52 ...\ndone", "loss 0.5234 after 3 s\n  done\n", True),
        ("loss 0.52", "loss 0.5434", False),
        ("['a.jsonl:1']", "['a.jsonl:2']", False),
        ("one line", "one line\nand another", False),
    ],
)
def test_outputs_are_compared(shown: str, printed: str, same: bool) -> None:
    with contextlib.nullcontext() if same else pytest.raises(AssertionError):
        assert_same(shown, printed)


def anchors(markdown: str) -> list[str]:
    """Links to the headings, as MkDocs and GitHub make them."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", markdown), re.MULTILINE)
    return ["#" + re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def test_generated_pages_are_those_of_the_code() -> None:
    for name, text in {**made(), **drawings()}.items():
        assert (DOCS / name).read_text("utf-8") == text, f"{name} is out of date: run `make reference`"
    assert {path.stem for path in (DOCS / "images").iterdir()} == {
        "quickstart",
        *(Path(name).stem for name in drawings()),
    }


def test_every_error_has_its_place_on_the_page() -> None:
    errors = [name for name in mmkit.__all__ if name.endswith("Error")]
    assert errors
    words = set((DOCS / "errors.md").read_text("utf-8").split())
    assert words.issuperset(errors)
