"""Pictures with captions: ``python -m recipes.captioning.prepare``.

Writes ``train.jsonl``, ``valid.jsonl`` and ``test.jsonl`` (stamps of Tux Paint, captions held out by content), and
``emoji_train.jsonl``, ``emoji_valid.jsonl``, ``emoji_test.jsonl`` and ``emoji_test_style.jsonl`` (the tested emoji, drawn in
another style than the training emoji), all with the columns ``image`` (RGB PNG), ``caption`` and ``kind``.
"""

from pathlib import Path
from typing import Any

from recipes.common.baselines import bleu, most_typical
from recipes.common.cache import write_json, write_jsonl
from recipes.common.report import main
from recipes.common.split import shuffled, split
from recipes.common.stamps import LICENCES, emoji_rows, stamp_rows, without

NAME, VERSION = "captioning", "2"
STAMP_SIDE, EMOJI_SIDE = 256, 64
TEST, VALID, EMOJI_TEST, EMOJI_VALID = 0.15, 0.05, 0.10, 0.03


def make(folder: Path) -> None:
    """Draw and copy the pictures, split by caption, score the baselines."""
    stamps = split(stamp_rows(folder, STAMP_SIDE), _family, test=TEST, valid=VALID)
    emoji = split(emoji_rows(folder, EMOJI_SIDE), _family, test=EMOJI_TEST, valid=EMOJI_VALID)
    style = split(emoji_rows(folder, EMOJI_SIDE, "noto"), _family, test=EMOJI_TEST)["test"]
    manifests = {
        **stamps,
        "emoji_train": emoji["train"],
        "emoji_valid": emoji["valid"],
        "emoji_test": emoji["test"],
        "emoji_test_style": style,
    }
    for name, rows in manifests.items():
        write_jsonl(folder / f"{name}.jsonl", without(shuffled(rows, lambda row: row["image"]), "family"))
    baselines = {
        "licence": LICENCES,
        "rows": {name: len(rows) for name, rows in manifests.items()},
        "stamps: always the most typical caption": _constant(stamps["train"], stamps["test"]),
        "emoji: always the most typical name": _constant(emoji["train"], emoji["test"]),
        "emoji in the other style: always the most typical name": _constant(emoji["train"], style),
    }
    write_json(folder / "baseline.json", baselines)


def _family(row: dict[str, Any]) -> str:
    return str(row["family"])


def _constant(train: list[dict[str, Any]], test: list[dict[str, Any]]) -> dict[str, Any]:
    answer = most_typical([row["caption"] for row in train])
    return {"answer": answer, **bleu([answer] * len(test), [row["caption"] for row in test])}


if __name__ == "__main__":
    main(NAME, VERSION, make, __doc__ or "")
