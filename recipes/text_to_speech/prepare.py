"""The studio prompts of ``recipes.speech_recognition`` again, to be spoken: ``python -m recipes.text_to_speech.prepare``.

Writes ``train.jsonl`` (its training clips, and every single word of the other parts), ``words.jsonl`` (one recording of each
single word of ``train.jsonl`` but for the names of letters, so all heard in training), ``valid.jsonl`` and ``test.jsonl``
(prompts of two words or more, no longer than a training clip, families of similar prompts apart).
"""

import json
from pathlib import Path
from typing import Any

from recipes.common.cache import read_jsonl, write_json, write_jsonl
from recipes.common.report import main
from recipes.speech_recognition.prepare import TRAIN_LONGEST
from recipes.speech_recognition.prepare import make as make_prompts

NAME, VERSION = "text_to_speech", "1"
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def make(folder: Path) -> None:
    """The prompts, their single words all among the training clips, and what is judged."""
    make_prompts(folder)
    parts = {part: read_jsonl(folder / f"{part}.jsonl") for part in ("train", "valid", "test")}
    single = [row for part in ("valid", "test") for row in parts[part] if is_word(row)]
    parts["train"] += single
    for part in ("valid", "test"):
        parts[part] = [row for row in parts[part] if not is_word(row) and row["seconds"] <= TRAIN_LONGEST]
    parts["words"] = words(parts["train"])
    for part, chosen in parts.items():
        write_jsonl(folder / f"{part}.jsonl", chosen)
    said = json.loads((folder / "baseline.json").read_text("utf-8"))
    facts = {name: said[name] for name in ("source", "licence")}
    facts["rows"] = {part: len(chosen) for part, chosen in parts.items()}
    facts["minutes"] = {part: round(sum(row["seconds"] for row in rows) / 60, 1) for part, rows in parts.items()}
    write_json(folder / "baseline.json", facts)


def is_word(row: dict[str, Any]) -> bool:
    """Whether one word is said."""
    return " " not in row["text"]


def words(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first recording of each single word; names of letters are left out: they have no spelling of their own."""
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        if is_word(row) and len(row["text"]) > 1:
            first.setdefault(row["text"], row)
    return list(first.values())


if __name__ == "__main__":
    main(NAME, VERSION, make, __doc__ or "")
