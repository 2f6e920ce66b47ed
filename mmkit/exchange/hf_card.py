"""A model of transformers, saved with its card: that of the folder it came from, as long as it is the same model."""

import filecmp
from pathlib import Path
from typing import TYPE_CHECKING

from transformers.utils.hub import cached_file

from mmkit.exchange.card import CARD, card_of
from mmkit.exchange.card_edit import edit_card
from mmkit.exchange.card_license import License

if TYPE_CHECKING:
    from mmkit.exchange.hf_model import MmkitModel


def save_with_card(
    model: "MmkitModel",
    folder: Path,
    name: str,
    max_shard_size: int | str,
    stated: License | None = None,
) -> None:
    """Write everything.

    A model that was trained on since it was loaded gets a new card, without the figures of the one it was.

    Raises:
        MmkitError: the card that it came with states another licence.
    """
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    came_with = _card_of_origin(model, folder)
    if came_with is None:
        card_of(model.core, model.config, name, stated=stated).save(folder / CARD)
    else:
        (folder / CARD).write_bytes(came_with.read_bytes())
        if stated is not None:
            edit_card(folder / CARD, f"the card of {model.config.name_or_path}", stated=stated)


def _card_of_origin(model: "MmkitModel", folder: Path) -> Path | None:
    """The card beside the weights that the model was loaded from, where they are the ones that it has now."""
    written = sorted(folder.glob("*.safetensors"))
    for path in written:
        there = _file(model, path.name)
        if there is None or not filecmp.cmp(path, there, shallow=False):
            return None
    return _file(model, CARD) if written else None


def _file(model: "MmkitModel", name: str) -> Path | None:
    origin = model.config.name_or_path
    if not origin:
        return None
    try:
        revision = getattr(model.config, "_commit_hash", None)
        found = cached_file(origin, name, revision=revision, _raise_exceptions_for_missing_entries=False)
    except OSError:
        return None
    return Path(found) if found else None
