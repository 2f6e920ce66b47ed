"""``mmkit new plugin``: a distribution with one component of the kind that was asked for."""

import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mmkit import __version__
from mmkit.discovery import discover
from mmkit.errors import MmkitError, nearest
from mmkit.scaffold.names import PREFIX, camel, check_modality, check_plugin
from mmkit.scaffold.render import Made, render

LICENCES = ("Apache-2.0", "BSD-3-Clause", "MIT")
_AUTHOR = re.compile(r"(?P<name>[^<>\n]*?)\s*(<(?P<email>[^<>@\s]+@[^<>@\s]+)>)?")


@dataclass(frozen=True)
class Kind:
    """What a kind's template makes.

    Attributes:
        registered: the kind as the registry calls it. modality: whether it takes raw values of one.
        yours: the functions that its author writes.
    """

    registered: str
    yours: tuple[str, str]
    summary: str
    modality: bool = False


KINDS = {
    "encoder": Kind("encoder", ("decode", "network"), "A recording in patches, each through one small network.", True),
    "adapter": Kind("adapter", ("num_tokens", "forward"), "Fewer tokens: means of neighbouring rows."),
    "backbone": Kind("backbone", ("Layer.sequence", "Layer.step"), "A minGRU, which reads whole sequences at once."),
    "head": Kind("head", ("read", "distribution"), "A count, by Poisson regression."),
    "codec": Kind("vocabulary", ("quantize", "restore"), "A signal as ids of its levels.", True),
}


def new_plugin(
    name: str,
    kind: str,
    *,
    modality: str = "",
    output: Path | None = None,
    author: str = "",
    licence: str = LICENCES[0],
) -> Made:
    """Write a distribution ``mmkit-NAME`` that installs, passes its tests and is gold.

    Args:
        name: of the plugin and its component. kind: one of ``KINDS``; ``vocabulary`` is another word for codec.
        modality: what an encoder or a codec takes; default: the name.
        output: its folder, new or empty; default: ``mmkit-NAME`` in the working folder.
        author: ``Name`` or ``Name <address>``. licence: one of ``LICENCES``.

    Raises:
        MmkitError: a name or an option that is not allowed, a folder that is taken, or copier is missing.
    """
    kind = "codec" if kind == "vocabulary" else kind
    if kind not in KINDS:
        raise MmkitError(f"there is no --kind {kind!r} of plugin: {nearest(kind, tuple(KINDS))}")
    chosen, distribution = KINDS[kind], f"{PREFIX}{name}"
    package = distribution.replace("-", "_")
    check_plugin(name, kind.capitalize())
    who, address = _author(author)
    _check_licence(licence)
    values = {
        "name": name,
        "kind": kind,
        "registered": chosen.registered,
        "summary": chosen.summary,
        "modality": _modality(modality, name, kind),
        "distribution": distribution,
        "package": package,
        "module": kind,
        "class_name": camel(name),
        "author": who,
        "email": address,
        "licence": licence,
        "year": str(datetime.now(UTC).year),
        "version": __version__,
    }
    folder = Path.cwd() / (output or distribution)
    files = render("plugin", folder, values)
    shown = shown_path(folder)
    return Made(
        folder=folder,
        files=files,
        what=f"{distribution}: {'an' if kind[0] in 'ae' else 'a'} {kind}, use: {name}",
        commands=(
            f"pip install -e {shlex.quote(f'{shown}[dev]')}",
            f"pytest {shlex.quote(shown)}",
            f"mmkit conform {distribution}",
        ),
        yours=f"{' and '.join(chosen.yours)} in {Path(shown) / package / kind}.py",
        notes=_namesakes(chosen.registered, name),
    )


def _modality(given: str, name: str, kind: str) -> str:
    """The modality of an encoder or a codec; of other kinds nothing."""
    if not KINDS[kind].modality:
        if given:
            raise MmkitError(
                f"--modality {given} belongs to encoders and codecs; this kind, {kind}, takes any\n    fix: leave it out"
            )
        return ""
    modality = given or name.replace("-", "_")
    check_modality(modality)
    return modality


def _check_licence(licence: str) -> None:
    if licence not in LICENCES:
        raise MmkitError(
            f"there is no text of the --licence {licence!r} here: {nearest(licence, LICENCES)}\n    fix: take one of them, "
            "and exchange LICENSE, `license` in pyproject.toml and `licence` in plugin.py afterwards"
        )


def _author(given: str) -> tuple[str, str]:
    """Name and address."""
    match = _AUTHOR.fullmatch(given.strip())
    if match is None or (given and not match["name"]):
        raise MmkitError(f"--author {given!r} is neither a name nor 'Name <address>'\n    fix: --author 'Ada Lovelace'")
    return match["name"], match["email"] or ""


def shown_path(folder: Path) -> str:
    """As a command in the working folder takes it; never mistaken for a name on an index."""
    try:
        inside = str(folder.resolve().relative_to(Path.cwd().resolve()))
        return inside if inside == "." else f"./{inside}"
    except ValueError:
        return str(folder)


def _namesakes(registered: str, name: str) -> tuple[str, ...]:
    """What else is called so: specs then write the full name."""
    others = [component.full_name for component in discover().of_kind(registered) if component.name == name]
    return tuple(f"{other} has this name, too: specs write {name}/{name} beside it" for other in others)
