"""The licence of a model, as the hub's fields ``license``, ``license_name`` and ``license_link`` say it."""

import re
from dataclasses import dataclass

from mmkit.errors import MmkitError, nearest

OTHER = "other"
IDENTIFIERS = frozenset(
    """
    afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0
    bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
    cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0
    etalab-2.0 eupl-1.1 eupl-1.2 fair-noncommercial-research-license gemma gfdl gpl gpl-2.0 gpl-3.0 grok2-community
    h-research intel-research isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 llama4
    lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openmdw-1.0 openrail openrail++ osl-3.0 other pddl
    postgresql unknown unlicense wtfpl zlib
    """.split()  # noqa: SIM905
)
"""What the hub takes for ``license`` of a model."""
NOT_STATED = "No licence was stated. Ask whoever published this model what you may do with it."
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*", re.ASCII)
_LINK = re.compile(r"https?://[^\s<>\"'`|\\]+|LICENSE(\.md)?", re.ASCII)


@dataclass(frozen=True)
class License:
    """A licence by the hub's fields.

    Attributes:
        id: one of ``IDENTIFIERS``. name, link: of one that the hub has no word for.
    """

    id: str
    name: str | None = None
    link: str | None = None

    def fields(self) -> dict[str, str]:
        """As the head of a card has them."""
        given = {"license": self.id, "license_name": self.name, "license_link": self.link}
        return {field: value for field, value in given.items() if value is not None}

    def words(self) -> str:
        """A sentence of the card, in Markdown."""
        if self.link is None:
            return f"`{self.name or self.id}`."
        text = f"<{self.link}>" if "://" in self.link else f"[{self.link}]({self.link})"
        return f"`{self.name}`: {text}"


def license_of(identifier: str | None, name: str | None = None, link: str | None = None) -> License | None:
    """A licence that the hub knows; None where none is given.

    Raises:
        MmkitError: the hub has no such identifier, or name and link do not belong to it.
    """
    if identifier is not None and identifier not in IDENTIFIERS:
        wanted = re.sub(r"[\s_]+", "-", str(identifier).strip().lower())
        found = f"did you mean {wanted!r}?" if wanted in IDENTIFIERS else nearest(wanted, sorted(IDENTIFIERS))
        raise MmkitError(
            f"license {identifier!r} is none of the hub's: {found} Any other is 'other' with a license_name"
        )
    if identifier != OTHER:
        for field, value in (("license_name", name), ("license_link", link)):
            if value is not None:
                said = "none is given" if identifier is None else f"it is {identifier!r}"
                raise MmkitError(f"{field} belongs to the license 'other', and {said}; leave it out, or give that")
        return License(identifier) if identifier is not None else None
    if name is None:
        raise MmkitError("license 'other' needs a license_name, such as 'my-license-1.0'")
    if not _NAME.fullmatch(name):
        raise MmkitError(
            f"license_name {name!r}: the hub takes small letters, digits, '.' and '-', as in 'my-license-1.0'"
        )
    if link is not None and not _LINK.fullmatch(link):
        raise MmkitError(
            f"license_link {link!r}: the hub takes an address, https://…, or LICENSE or LICENSE.md, a file of the repository"
        )
    return License(OTHER, name, link)
