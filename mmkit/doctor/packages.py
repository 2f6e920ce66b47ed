"""Versions: what mmkit and the plugins require, their optional extras, and whether torch's companions fit torch."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from mmkit.doctor.finding import Finding, note, ok, problem

Installed = Callable[[str], str | None]
"""Name of a distribution → its version, None where it is not installed."""


@dataclass(frozen=True)
class Package:
    """What a distribution's metadata says.

    Attributes:
        build: the version with what it was built for (``2.14.1+cu130``), where the package itself says so.
    """

    name: str
    version: str
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    python: str = ""
    build: str = ""

    def needs(self, extra: str = "") -> list[Requirement]:
        """Its requirements on this machine; with ``extra`` only those that this extra adds."""
        found = []
        for requirement in map(Requirement, self.requires):
            marker = requirement.marker
            always = marker is None or marker.evaluate({"extra": ""})
            if not extra and always:
                found.append(requirement)
            elif extra and not always and marker is not None and marker.evaluate({"extra": extra}):
                own = requirement.name == self.name  # an extra made of others: mmkit[tune,ray]
                found += [n for e in sorted(requirement.extras) for n in self.needs(e)] if own else [requirement]
        return found


def _has(requirement: Requirement, version: str | None) -> bool:
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _pip(requirements: Sequence[Requirement]) -> str:
    return "pip install " + " ".join(f"'{_bare(requirement)}'" for requirement in requirements)


def _bare(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def python_version(running: str, package: Package) -> Finding:
    """Whether mmkit supports this Python."""
    if SpecifierSet(package.python).contains(running, prereleases=True):
        return ok("python", running)
    text = f"{running}, and {package.name} {package.version} needs {package.python}"
    return problem("python", text, "make a new environment with such a Python, and install mmkit there")


def requirements(packages: Sequence[Package], installed: Installed) -> Iterator[Finding]:
    """Whether everything is there that mmkit and the plugins require, in a version that they take."""
    counted, missing = 0, False
    for package in packages:
        for requirement in package.needs():
            counted += 1
            version = installed(requirement.name)
            if not _has(requirement, version):
                missing = True
                what = f"installed is {version}" if version else "which is not installed"
                text = f"{package.name} {package.version} needs {_bare(requirement)}, {what}"
                yield problem("requirements", text, _pip([requirement]))
    if not missing:
        names = ", ".join(f"{package.name} {package.version}" for package in packages)
        yield ok("requirements", f"all {counted} of {names}")


def extras(packages: Sequence[Package], installed: Installed) -> Iterator[Finding]:
    """Which optional extras are there."""
    for package in packages:
        for extra in package.extras:
            name, needs = f"{package.name}[{extra}]", package.needs(extra)
            found = [(requirement, installed(requirement.name)) for requirement in needs]
            old = [f"{_bare(r)}, installed is {version}" for r, version in found if version and not _has(r, version)]
            if old:
                yield problem("extra", f"{name} needs {'; '.join(old)}", f"pip install '{name}'")
            elif all(version for _, version in found):
                yield ok("extra", f"{name}: {', '.join(f'{r.name} {version}' for r, version in found)}")
            else:
                lacks = ", ".join(r.name for r, version in found if not version)
                yield note("extra", f"{name} is not installed: {lacks}", f"pip install '{name}'")


LAST_AUDIO = 11
"""torchaudio 2.11 was the last that is made for one torch: it goes with torch 2.11 and all later ones."""


def fitting(name: str, torch: str) -> str:
    """Which versions of torchvision or torchaudio are made for this torch, as ``0.29.*``; nothing where not known."""
    found = re.match(r"2\.(\d+)", torch)
    if not found:
        return ""
    minor = int(found[1])
    return f"0.{minor + 15}.*" if name == "torchvision" else f"2.{min(minor, LAST_AUDIO)}.*"


def misfit(other: Package, torch: Package) -> Finding | None:
    """Why torchvision or torchaudio does not fit torch: made for another version, or for other hardware."""
    wanted = fitting(other.name, torch.version)
    fix = f"pip install '{other.name}=={wanted}'" if wanted else f"install the {other.name} released with your torch"
    declared = [need.specifier for need in other.needs() if need.name == "torch" and need.specifier]
    for specifier in declared:
        if not specifier.contains(torch.version, prereleases=True):
            text = f"{other.version} is made for torch{specifier}, installed is torch {torch.version}"
            return problem(other.name, text, fix)
    if not declared and wanted and not SpecifierSet(f"=={wanted}").contains(_plain(other.version), prereleases=True):
        return problem(other.name, f"{other.version} does not fit torch {torch.version}, {wanted} does", fix)
    return _other_hardware(other, torch)


def _other_hardware(other: Package, torch: Package) -> Finding | None:
    has, wants = hardware(other.build), hardware(torch.build)
    if not has or not wants or has == wants:
        return None
    text = f"{other.build} is built for {has}, torch {torch.build} for {wants}"
    tag = torch.build.partition("+")[2]
    fix = f"install torch, torchvision and torchaudio from one index of PyTorch, the one that ends in {tag}"
    if has == "the CPU":
        return note(other.name, f"{text}: it does not compute on the GPU", fix)
    return problem(other.name, text, fix)


def hardware(build: str) -> str:
    """``CUDA 13``, ``ROCm 6`` or ``the CPU``, from the end of a version (``+cu130``); nothing where it does not say."""
    tag = build.partition("+")[2]
    if tag == "cpu":
        return "the CPU"
    found = re.fullmatch(r"cu(\d+)\d", tag)
    if found:
        return f"CUDA {found[1]}"
    found = re.match(r"rocm(\d+)", tag)
    return f"ROCm {found[1]}" if found else ""


def _plain(version: str) -> str:
    try:
        return Version(version).base_version
    except InvalidVersion:
        return version
