"""Movie-review snippets rated by 20 people each: ``python -m recipes.sentiment_lstm.prepare``.

Writes ``train.jsonl``, ``valid.jsonl`` and ``test.jsonl`` with the columns ``text``, ``label`` (``neg`` or ``pos``),
``positive`` (0 or 1) and ``rating`` (mean, −4…4); snippets with a rating nearer to 0 than 0.5 are left out. ``seed1/`` and
``seed2/`` hold the same rows split otherwise.
"""

import itertools
import tarfile
from collections import Counter
from math import log
from pathlib import Path
from typing import Any

from recipes.common.baselines import majority
from recipes.common.cache import write_json, write_jsonl
from recipes.common.errors import RecipeError
from recipes.common.fetch import PACKAGES, pip_package
from recipes.common.report import main
from recipes.common.split import shuffled, split

NAME, VERSION = "sentiment_lstm", "2"
TEST, VALID = 0.10, 0.10
CLEAR = 0.5
SEEDS = ("", "1", "2")
INNER = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"


def make(folder: Path) -> None:
    """Read, keep what is clearly rated, split by snippet, score the baselines."""
    package = PACKAGES["vaderSentiment"]
    snippets = _snippets(pip_package("vaderSentiment") / "vaderSentiment-2.5")
    clear = [row for row in snippets if abs(row["rating"]) >= CLEAR]
    baselines: dict[str, Any] = {
        "source": f"{package.name} {package.version}, {INNER} (Hutto and Gilbert, 2014)",
        "licence": package.licence,
        "snippets": len(snippets),
        "labels": dict(Counter(row["label"] for row in clear)),
    }
    for seed in SEEDS:
        parts = split(clear, lambda row: row["text"], test=TEST, valid=VALID, seed=seed)
        where = folder / f"seed{seed}" if seed else folder
        where.mkdir(exist_ok=True)
        for part, rows in parts.items():
            write_jsonl(where / f"{part}.jsonl", shuffled(rows, lambda row: row["text"], seed))
        train, test = parts["train"], parts["test"]
        name = f"seed {seed}: " if seed else ""
        baselines |= {
            f"{name}rows": {part: len(rows) for part, rows in parts.items()},
            f"{name}always the commonest label": majority([r["label"] for r in train], [r["label"] for r in test]),
            f"{name}naive Bayes on words and pairs of words": {"accuracy": round(_naive_bayes(train, test), 4)},
        }
    write_json(folder / "baseline.json", baselines)


def _snippets(package: Path) -> list[dict[str, Any]]:
    archive = package / "additional_resources" / "hutto_ICWSM_2014.tar.gz"
    if not archive.exists():
        raise RecipeError(f"{package.name} has no {archive.name}: only the source archive of version 2.5 has it")
    with tarfile.open(archive) as tar:
        member = tar.extractfile(INNER)
        if member is None:
            raise RecipeError(f"{archive.name} has no {INNER}")
        lines = member.read().decode("latin-1").splitlines()
    rows: dict[str, dict[str, Any]] = {}
    for line in lines:
        parts = line.split("\t")
        if len(parts) == 3:
            rating, text = float(parts[1]), parts[2].strip()
            label = "pos" if rating > 0 else "neg"
            rows.setdefault(
                text, {"text": text, "label": label, "positive": int(rating > 0), "rating": round(rating, 4)}
            )
    return list(rows.values())


def _naive_bayes(train: list[dict[str, Any]], test: list[dict[str, Any]]) -> float:
    """Accuracy of multinomial naive Bayes (add-one) on the presence of words and pairs of words."""
    seen = {label: Counter[str]() for label in ("neg", "pos")}
    for row in train:
        seen[row["label"]].update(_features(row["text"]))
    totals = {label: counts.total() for label, counts in seen.items()}
    size = len(seen["neg"] | seen["pos"])
    right = 0
    for row in test:
        score = sum(
            log((seen["pos"][f] + 1) / (totals["pos"] + size)) - log((seen["neg"][f] + 1) / (totals["neg"] + size))
            for f in _features(row["text"])
        )
        right += (score > 0) == bool(row["positive"])
    return right / len(test)


def _features(text: str) -> set[str]:
    words = "".join(c if c.isalnum() or c == "'" else " " for c in text.lower()).split()
    return {*words, *map(" ".join, itertools.pairwise(words))}


if __name__ == "__main__":
    main(NAME, VERSION, make, __doc__ or "")
