"""A card that is there already, edited at its head: what stands in it stays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import metadata_load, metadata_save
from yaml import YAMLError

from mmkit.errors import MmkitError
from mmkit.exchange.card_license import NOT_STATED, License


def edit_card(path: Path, whose: str, tags: Sequence[str] = (), stated: License | None = None) -> bool:
    """Put further tags, and a licence where the card states none, into the file; whether that changed anything.

    Args:
        whose: the card, in a few words, for messages.

    Raises:
        MmkitError: it states another licence, or its head cannot be read.
    """
    try:
        data: dict[str, Any] = metadata_load(path) or {}
    except (ValueError, YAMLError) as error:
        said = str(error).splitlines()[0]
        raise MmkitError(f"the head of {whose} cannot be read: {said}; mend its README.md") from None
    before = dict(data)
    own = data.get("tags") or []
    own = [own] if isinstance(own, str) else own
    if any(tag not in own for tag in tags):
        data["tags"] = [*own, *(tag for tag in dict.fromkeys(tags) if tag not in own)]
    for field, value in (stated.fields() if stated is not None else {}).items():
        if data.get(field, value) != value:
            raise MmkitError(
                f"{whose} has {field}: {data[field]} already, not {value}; change its README.md, or give no license"
            )
        data[field] = value
    if data == before:
        return False
    metadata_save(path, data)
    if stated is not None:
        _say(path, stated)
    return True


def _say(path: Path, stated: License) -> None:
    """In the text, too, where mmkit wrote that none was stated."""
    text = path.read_bytes()
    path.write_bytes(text.replace(NOT_STATED.encode(), stated.words().encode(), 1))
