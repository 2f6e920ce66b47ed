"""Descriptions of Debian packages, and which packages are so alike that a split must not part them."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from recipes.common.debian import packages, translation
from recipes.common.families import by_shared_keys

_KIND = [
    "dev",
    "doc",
    "docs",
    "dbg",
    "dbgsym",
    "common",
    "data",
    "bin",
    "utils",
    "tools",
    "examples",
    "example",
    "headers",
    "perl",
    "java",
    "python",
    "ruby",
    "lua",
    "php",
    "tcl",
    "gtk",
    "qt",
    "gui",
    "cli",
    "core",
    "base",
    "extra",
    "extras",
    "plugin",
    "plugins",
    "modules",
    "module",
    "server",
    "client",
    "daemon",
    "test",
    "tests",
    "runtime",
    "static",
    "demo",
    "demos",
    "udeb",
    "source",
    "lib",
    "libs",
    "nox",
    "lite",
    "full",
    "minimal",
    "prof",
    "sources",
    "manpages",
    "html",
    "pdf",
    "sounds",
    "music",
    "fonts",
    "theme",
    "themes",
    "l10n",
    "i18n",
]
_PREFIX = re.compile(r"^(python3?|ruby|php|lua|golang|node|r-cran|r-bioc|r-other|lib|fonts?|texlive|task)-|^lib(?=...)")
_SUFFIX = re.compile(rf"[-.](?:{'|'.join(_KIND)}|perl|cil|java|ocaml|[a-z]?\d[\d.+a-z]*)$|[\d.]+[a-z]?$")


@dataclass(frozen=True)
class Description:
    """One package: its English synopsis and description, and the same in other languages (by language)."""

    package: str
    source: str
    section: str
    synopsis: dict[str, str]
    body: dict[str, list[str]]


def descriptions(languages: Iterable[str] = ()) -> list[Description]:
    """Every package with an English description, sorted by name; of equal descriptions only the first."""
    info = {fields["Package"]: fields for fields in packages()}
    by_digest: dict[str, tuple[str, dict[str, str]]] = {}
    for language in ("en", *languages):
        for fields in translation(language):
            text, digest = fields.get(f"Description-{language}"), fields.get("Description-md5", "")
            if text and (language == "en" or digest in by_digest):
                by_digest.setdefault(digest, (fields["Package"], {}))[1].setdefault(language, text)
    found = []
    for name, texts in sorted(by_digest.values(), key=lambda pair: pair[0]):
        fields = info.get(name, {})
        source = fields.get("Source", name).split(" ")[0]
        lines = {language: text.split("\n") for language, text in texts.items()}
        synopsis = {language: " ".join(part[0].split()) for language, part in lines.items()}
        body = {language: paragraphs(part[1:]) for language, part in lines.items()}
        found.append(Description(name, source, fields.get("Section", ""), synopsis, body))
    return found


def paragraphs(lines: Iterable[str]) -> list[str]:
    """The paragraphs of an extended description: lines are joined, a lone dot parts them, list items stand alone."""
    found: list[str] = []
    fresh = True
    for line in lines:
        text = line.strip()
        if text in (".", ""):
            fresh = True
        elif fresh or line.startswith("  ") or text.startswith(("* ", "- ")):
            found.append(text)
            fresh = False
        else:
            found[-1] += " " + text
    return [" ".join(text.split()) for text in found]


def stem(name: str) -> str:
    """A package's name without language prefix, kind suffixes and versions: ``libfoo2-dev`` → ``foo``."""
    text, before = name.lower(), ""
    while text != before:
        before = text
        for pattern in (_SUFFIX, _PREFIX):
            shorter = pattern.sub("", text)
            text = shorter if len(shorter) >= 3 else text
    return text


def text_key(text: str) -> str:
    """A text's words without case, digits, punctuation and what is in brackets or after a dash: a near-duplicate key."""
    head = re.sub(r"\([^)]*\)", " ", text.lower())
    head = re.split(r"\s[-–—]+\s|;", head)[0]
    return " ".join(re.findall(r"[^\W\d_]+", head))


def families(found: list[Description]) -> list[str]:
    """A family name a description: the first of its packages.

    Linked are: packages of one source package (or of sources that differ by version), names with one stem, and texts whose
    synopses (in any language) or first paragraphs are the same but for case, digits and remarks.
    """
    keys: list[list[Hashable]] = []
    for one in found:
        links: list[Hashable] = [("name", stem(one.package)), ("name", stem(one.source))]
        for text in one.synopsis.values():
            key = text_key(text)
            if len(key.split()) >= 2:
                links.append(("text", key))
        body = text_key(" ".join(one.body["en"][:1])[:200])
        if len(body.split()) >= 8:
            links.append(("body", body))
        keys.append(links)
    names = by_shared_keys(keys)
    first: dict[str, str] = {}
    for one, name in zip(found, names, strict=True):
        first[name] = min(first.get(name, one.package), one.package)
    return [first[name] for name in names]


def few_a_family(rows: list[dict[str, Any]], most: int = 3) -> list[dict[str, Any]]:
    """At most ``most`` rows of every family, so that no family of near-duplicates decides a score."""
    counts: Counter[str] = Counter()
    kept = []
    for row in rows:
        counts[row["family"]] += 1
        if counts[row["family"]] <= most:
            kept.append(row)
    return kept


def largest(names: Iterable[str], count: int = 3) -> dict[str, int]:
    """The largest families, to see that none has swallowed the others."""
    return dict(Counter(names).most_common(count))
