"""Pictures and captions to be matched: ``python -m recipes.image_text_retrieval.prepare``.

Writes ``train.jsonl``, ``valid.jsonl`` (stamps and emoji together) and ``test_stamps.jsonl``, ``test_emoji.jsonl`` with the
columns ``image`` (RGB PNG), ``caption`` and ``kind``. In a test set every caption occurs once, so recall@k is well defined.
The split is by motif: no skin tone of a tested emoji, and no stamp with a caption like a tested one, is trained on.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recipes.common.cache import write_json, write_jsonl
from recipes.common.report import main
from recipes.common.split import shuffled, split
from recipes.common.stamps import LICENCES, emoji_rows, stamp_rows, without

NAME, VERSION = "image_text_retrieval", "2"
STAMP_SIDE, EMOJI_SIDE = 224, 112
TEST, VALID, EMOJI_TEST = 0.15, 0.05, 0.10
TONE = re.compile(r"\b(light|medium-light|medium|medium-dark|dark) skin tone\b")


def make(folder: Path) -> None:
    """Draw and copy the pictures, split by motif, keep one picture a caption in the tests, state chance."""
    stamps = split(stamp_rows(folder, STAMP_SIDE), _family, test=TEST, valid=VALID)
    emoji = split(emoji_rows(folder, EMOJI_SIDE), _family, test=EMOJI_TEST, valid=VALID)
    manifests = {
        "train": stamps["train"] + emoji["train"],
        "valid": _once(stamps["valid"] + emoji["valid"]),
        "test_stamps": _once(stamps["test"]),
        "test_emoji": _once(emoji["test"]),
    }
    for name, rows in manifests.items():
        write_jsonl(folder / f"{name}.jsonl", without(shuffled(rows, lambda row: row["image"]), "family"))
    baselines: dict[str, Any] = {
        "licence": {name: LICENCES[name] for name in ("stamps", "emoji")},
        "rows": {name: len(rows) for name, rows in manifests.items()},
        "train by source": {"stamps": len(stamps["train"]), "emoji": len(emoji["train"])},
    }
    for name in ("test_stamps", "test_emoji"):
        count = len(manifests[name])
        baselines[f"{name}: chance"] = {f"recall@{k}": round(min(1.0, k / count), 4) for k in (1, 5, 10)}
    write_json(folder / "baseline.json", baselines)


def _family(row: dict[str, Any]) -> str:
    return motif(str(row["family"]))


def motif(caption: str) -> str:
    """A caption without its skin tones.

    >>> motif("people holding hands dark skin tone medium skin tone")
    'people holding hands'
    """
    return " ".join(TONE.sub("", caption.lower()).split())


def _once(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({row["caption"].lower(): row for row in reversed(rows)}.values())[::-1]


if __name__ == "__main__":
    main(NAME, VERSION, make, __doc__ or "")
