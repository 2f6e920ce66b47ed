"""What MkDocs is told beside mkdocs.yml: the pages of folders, formulas, and entries of the Python API."""

import html
import re
from pathlib import Path
from typing import Any

from math_core import LatexError, LatexToMathML

from docs.signatures import RETURNED

HERE = Path(__file__).parent
CONVERTER = LatexToMathML(fancy_error=False)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\(?P<open>[(\[])(?P<tex>.*?)\\[)\]]</\1>', re.DOTALL)
ENTRY = re.compile(r"^### (\w+)\n\n(```py\n.*?^```\n)?.*?(?=^##|^\*Made from|\Z)", re.MULTILINE | re.DOTALL)
"""A name of the Python API, its signature, and all that follows up to the next."""


def on_config(config: Any) -> Any:
    """Patterns in the navigation become pages."""
    named = set(_paths(config["nav"]))
    config["nav"] = _expanded(config["nav"], named)
    return config


def _paths(nav: list[Any]) -> list[str]:
    """All paths and patterns of the navigation."""
    found = []
    for item in nav:
        for value in item.values() if isinstance(item, dict) else [item]:
            found += [value] if isinstance(value, str) else _paths(value)
    return found


def _expanded(nav: list[Any], named: set[str]) -> list[Any]:
    """The navigation without patterns, and without sections that have no page."""
    full: list[Any] = []
    for item in nav:
        if isinstance(item, dict):
            (title, value), *_ = item.items()
            value = value if isinstance(value, str) else _expanded(value, named)
            full += [{title: value}] if value else []
        elif item.endswith("*"):
            pages = sorted(str(path.relative_to(HERE)) for path in HERE.glob(item) if path.suffix == ".md")
            full += [page for page in pages if page not in named]
        else:
            full.append(item)
    return full


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The list of decisions; the Python API by mkdocstrings."""
    if page.file.src_uri == "decisions/README.md":
        return f"{markdown}\n\n{decisions()}\n"
    if page.file.src_uri == "python-api.md":
        return ENTRY.sub(entry, markdown)
    return markdown


def entry(found: re.Match[str]) -> str:
    """Heading and signature as they are; docstring and members by mkdocstrings."""
    name, signature = found[1], found[2] or ""
    return f"### {name}\n\n{signature}\n::: {RETURNED.get(name, 'mmkit')}.{name}\n\n"


def decisions() -> str:
    """A link to every decision page."""
    pages = sorted(path for path in (HERE / "decisions").glob("[0-9]*.md"))
    titles = [path.read_text("utf-8").partition("\n")[0].removeprefix("# ") for path in pages]
    return "\n".join(f"* [{title}]({path.name})" for title, path in zip(titles, pages, strict=True))


def on_page_content(text: str, page: Any, config: Any, files: Any) -> str:
    """Formulas as MathML."""
    return FORMULA.sub(lambda found: mathml(html.unescape(found["tex"]), found["open"] == "["), text)


def mathml(tex: str, block: bool) -> str:
    """A formula for browsers.

    Raises:
        ValueError: not TeX that the converter knows.
    """
    try:
        made = CONVERTER.convert_with_local_state(tex, displaystyle=block)
    except LatexError as error:
        raise ValueError(f"the formula {tex.strip()!r} cannot be shown: {error}") from None
    return f'<div class="formula">{made}</div>' if block else made
