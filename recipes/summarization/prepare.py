"""Descriptions of Debian packages and their synopses: ``python -m recipes.summarization.prepare``.

Writes ``train.jsonl``, ``valid.jsonl`` and ``test.jsonl`` with the columns ``description`` (at most 200 words), ``synopsis``,
``package`` and ``section``, split by package family (at most three rows of a family in ``valid`` and ``test``). Of the test
families 300 rows are drawn: writing synopses with a language model takes its time on a CPU.
"""

from pathlib import Path

from recipes.common.baselines import most_typical, rouge
from recipes.common.cache import write_json, write_jsonl
from recipes.common.report import main
from recipes.common.split import shuffled, split
from recipes.common.synopses import descriptions, families, few_a_family, largest

NAME, VERSION = "summarization", "3"
LICENCE = "free, as each package says"
TEST, VALID, TESTED = 0.03, 0.02, 300
MIN_WORDS, MAX_WORDS = 8, 200


def make(folder: Path) -> None:
    """Join paragraphs, leave out descriptions that say less than a synopsis, split by family, score the baselines."""
    found = descriptions()
    names = families(found)
    rows, short, seen = [], 0, set()
    for one, family in zip(found, names, strict=True):
        words = " ".join(one.body["en"]).split()
        pair = " ".join(words[:MAX_WORDS]), one.synopsis["en"]
        if len(words) < MIN_WORDS or pair in seen:
            short += len(words) < MIN_WORDS
            continue
        seen.add(pair)
        rows.append(
            {
                "description": pair[0],
                "synopsis": pair[1],
                "package": one.package,
                "section": one.section,
                "family": family,
            }
        )
    parts = split(rows, lambda row: row["family"], test=TEST, valid=VALID)
    parts |= {part: few_a_family(parts[part]) for part in ("valid", "test")}
    parts = {part: shuffled(chosen, lambda row: row["package"]) for part, chosen in parts.items()}
    parts["test"] = parts["test"][:TESTED]
    for part, chosen in parts.items():
        write_jsonl(folder / f"{part}.jsonl", chosen)
    texts = [row["description"] for row in parts["test"]]
    references = [row["synopsis"] for row in parts["test"]]
    typical = most_typical([row["synopsis"] for row in parts["train"]])
    baselines = {
        "source": "package lists of the Debian archive, Translation-en",
        "licence": LICENCE,
        "rows": {part: len(chosen) for part, chosen in parts.items()},
        "shorter than 8 words, left out": short,
        "families": len(set(names)),
        "largest families": largest(row["family"] for row in rows),
        "first eight words": rouge([" ".join(text.split()[:8]) for text in texts], references),
        "first sentence": rouge([text.split(". ")[0] for text in texts], references),
        "always the most typical synopsis": {"answer": typical, **rouge([typical] * len(texts), references)},
    }
    write_json(folder / "baseline.json", baselines)


if __name__ == "__main__":
    main(NAME, VERSION, make, __doc__ or "")
