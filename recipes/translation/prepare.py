"""English and Italian one-line synopses of Debian packages: ``python -m recipes.translation.prepare``.

Writes ``train.jsonl``, ``valid.jsonl`` and ``test.jsonl`` with the columns ``en``, ``it`` and ``package``, split by package
family (at most three rows of a family in ``valid`` and ``test``); and ``train_paragraphs.jsonl``, the same columns, with pairs of paragraphs out of the descriptions of the
training families only.
"""

from pathlib import Path
from typing import Any

from recipes.common.baselines import bleu, most_typical
from recipes.common.cache import write_json, write_jsonl
from recipes.common.report import main
from recipes.common.split import shuffled, split
from recipes.common.synopses import Description, descriptions, families, few_a_family, largest

NAME, VERSION = "translation", "2"
LICENCE = "free, as each package says (translations by the Debian Description Translation Project)"
TEST, VALID = 0.05, 0.03
MAX_WORDS = 60


def make(folder: Path) -> None:
    """Pair by description, leave out what is not translated, split by family, score the baselines."""
    found = descriptions(["it"])
    names = families(found)
    rows, left_out, seen = [], 0, set()
    for one, family in zip(found, names, strict=True):
        pair = one.synopsis["en"], one.synopsis.get("it", "")
        if not pair[1] or pair in seen:
            continue
        seen.add(pair)
        if pair[0] == pair[1]:
            left_out += 1
            continue
        rows.append({"en": pair[0], "it": pair[1], "package": one.package, "family": family})
    parts = split(rows, lambda row: row["family"], test=TEST, valid=VALID)
    parts |= {part: few_a_family(parts[part]) for part in ("valid", "test")}
    for part, chosen in parts.items():
        write_jsonl(folder / f"{part}.jsonl", shuffled(chosen, lambda row: row["package"]))
    training = {row["family"] for row in parts["train"]}
    extra = [pair for one, family in zip(found, names, strict=True) if family in training for pair in _paragraphs(one)]
    count = write_jsonl(folder / "train_paragraphs.jsonl", shuffled(_unique(extra), lambda row: row["en"]))
    english, italian = ([row[column] for row in parts["test"]] for column in ("en", "it"))
    typical = most_typical([row["it"] for row in parts["train"]])
    baselines = {
        "source": "package lists of the Debian archive, Translation-en and Translation-it",
        "licence": LICENCE,
        "rows": {**{part: len(chosen) for part, chosen in parts.items()}, "train_paragraphs": count},
        "untranslated, left out": left_out,
        "families": len(set(names)),
        "largest families": largest(row["family"] for row in rows),
        "copy the English": bleu(english, italian),
        "always the most typical Italian synopsis": {"answer": typical, **bleu([typical] * len(italian), italian)},
    }
    write_json(folder / "baseline.json", baselines)


def _paragraphs(one: Description) -> list[dict[str, Any]]:
    """Paragraph pairs of a description whose translation has as many paragraphs of comparable length."""
    english, italian = one.body["en"], one.body.get("it", [])
    if len(english) != len(italian):
        return []
    pairs = []
    for source, target in zip(english, italian, strict=True):
        longer = max(len(source), len(target))
        if source != target and longer <= 2 * min(len(source), len(target)) and len(source.split()) <= MAX_WORDS:
            pairs.append({"en": source, "it": target, "package": one.package})
    return pairs


def _unique(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({(row["en"], row["it"]): row for row in rows}.values())


if __name__ == "__main__":
    main(NAME, VERSION, make, __doc__ or "")
