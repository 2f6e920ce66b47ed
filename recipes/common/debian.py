"""Packages and archive lists of Debian into the cache: apt's own client with private folders; no root, no install."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock

from recipes.common.cache import cache_root, made_once, write_json
from recipes.common.errors import RecipeError
from recipes.common.fetch import last_line, sha256

LANGUAGES = ("en", "it", "da", "fr")
FRESH_DAYS = 30


def debian_package(name: str, licence: str) -> Path:
    """The unpacked files of a Debian package (``usr/…`` below the returned folder).

    apt checks the file against the archive's signed lists; its version and SHA-256 are kept in ``package.json``.

    Raises:
        RecipeError: this is not a Debian or Ubuntu system, or the package cannot be fetched.
    """

    def make(folder: Path) -> None:
        _need_apt(f"the Debian package {name}")
        update_lists()
        fields = _show(name)
        size = int(fields.get("Size", 0)) / 1e6
        print(f"fetching {name} {fields.get('Version', '')}: {size:.1f} MB, licence {licence}", flush=True)
        with tempfile.TemporaryDirectory(dir=cache_root()) as work:
            _run(["apt-get", *_options(), "download", "-q", name], f"the Debian package {name}", cwd=work)
            (archive,) = Path(work).glob("*.deb")
            _run(["dpkg", "-x", str(archive), str(folder)], f"the content of {archive.name}")
            record = {"name": name, "version": fields.get("Version"), "sha256": sha256(archive), "licence": licence}
        write_json(folder / "package.json", record)

    return made_once(cache_root() / "packages" / f"debian-{name}", "1", make)[0]


def package_version(folder: Path) -> str:
    """Name and version of what ``debian_package`` unpacked."""
    record = json.loads((folder / "package.json").read_text("utf-8"))
    return f"{record['name']} {record['version']}"


def update_lists(languages: Sequence[str] = LANGUAGES) -> Path:
    """The archive's lists with translated descriptions, in the cache; renewed when a month old."""
    _need_apt("the Debian archive's lists")
    folder = cache_root() / "apt"
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    stamp = folder / "updated.json"
    with FileLock(folder / ".lock"):
        fresh = stamp.exists() and time.time() - stamp.stat().st_mtime < FRESH_DAYS * 86400
        if not fresh or set(languages) - set(json.loads(stamp.read_text("utf-8"))["languages"]):
            print(f"fetching the lists of the Debian archive ({', '.join(languages)}), about 30 MB", flush=True)
            extra = ["-o", f"Acquire::Languages={','.join(languages)}", "-o", "APT::Update::Error-Mode=any"]
            _run(["apt-get", *_options(), *extra, "update", "-q"], "the Debian archive's lists")
            write_json(stamp, {"languages": list(languages)})
    return folder / "lists"


def translation(language: str) -> Iterator[dict[str, str]]:
    """The paragraphs of every ``Translation-xx`` list: Package, Description-md5, Description-xx."""
    update_lists()
    yield from _paragraphs("Translations", language)


def packages() -> Iterator[dict[str, str]]:
    """The paragraphs of every ``Packages`` list: Package, Version, Section, Source and others."""
    update_lists()
    yield from _paragraphs("Packages", "")


def _paragraphs(kind: str, language: str) -> Iterator[dict[str, str]]:
    extra = ["-o", f"Acquire::Languages={','.join(LANGUAGES)}"]
    listing = _run(
        ["apt-get", *_options(), *extra, "indextargets", "--format", "$(CREATED_BY)\t$(LANGUAGE)\t$(FILENAME)"],
        "the names of the archive's lists",
    )
    for line in listing.splitlines():
        created, of_language, file = ([*line.split("\t"), "", ""])[:3]
        if created == kind and file and (not language or of_language == language):
            yield from parse_paragraphs(_run(["/usr/lib/apt/apt-helper", "cat-file", file], file))


def parse_paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Deb822 paragraphs as dicts; continuation lines keep their leading space."""
    for block in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        last = ""
        for line in block.splitlines():
            if line[:1] in (" ", "\t") and last:
                fields[last] += "\n" + line
            elif ":" in line:
                last, value = line.split(":", 1)
                fields[last] = value.strip()
        if fields:
            yield fields


def _show(name: str) -> dict[str, str]:
    text = _run(["apt-cache", *_options(), "show", "--no-all-versions", name], f"the Debian package {name}")
    return next(parse_paragraphs(text), {})


def _options() -> list[str]:
    folder = cache_root() / "apt"
    options = [f"Dir::State::lists={folder / 'lists'}", f"Dir::Cache={folder / 'cache'}"]
    if os.geteuid() == 0:
        options.append("APT::Sandbox::User=root")  # the cache may lie where apt's own user cannot read
    return [part for option in options for part in ("-o", option)]


def _need_apt(what: str) -> None:
    missing = [tool for tool in ("apt-get", "dpkg") if shutil.which(tool) is None]
    if missing:
        raise RecipeError(
            f"{what} is fetched with apt-get and dpkg, and this system has no {' and no '.join(missing)}.\n"
            "    fix: run this recipe on Debian or Ubuntu (a container will do), or copy the folder "
            f"{cache_root() / 'packages'} from one"
        )


def _run(command: list[str], what: str, cwd: str | None = None) -> str:
    result = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, "LC_ALL": "C.UTF-8"})
    if result.returncode:
        raise RecipeError(
            f"{command[0]} could not get {what}: {last_line(result.stderr)}\n"
            "    fix: check the network and the sources in /etc/apt (the archive's section 'main', on Ubuntu "
            "'universe'), then run this again"
        )
    return result.stdout
