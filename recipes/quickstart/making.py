"""What the demo's second model makes: drawings of words, and words spoken of pictures, each with what its judge says of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from recipes.common.cache import read_jsonl
from recipes.quickstart.digits import WORDS, Listener, Namer

EACH, SHOWN = 10, 10


@dataclass(frozen=True)
class Made:
    """Of one task.

    Attributes:
        given: words to draw, or pictures to name. wanted, judged: the words that should be, and those that the judge sees or hears.
        real: share of real pictures that the judge is right about; None for sounds, whose judge compares with all recordings there are.
    """

    task: str
    given: Sequence[Any]
    values: Sequence[Any]
    wanted: Sequence[str]
    judged: Sequence[str]
    real: float | None

    @property
    def right(self) -> float:
        """Share that the judge takes for what was asked."""
        return share(self.judged, self.wanted)


def make(model: Any, folder: Path) -> list[Made]:
    """100 drawings, and the spoken words of 100 pictures that the model has never seen."""
    rows = read_jsonl(folder / "test.jsonl")
    pictures = [Image.open(folder / row["image"]) for row in rows]
    namer, listener = Namer(folder), Listener(folder)
    asked = list(WORDS) * EACH
    seeds = list(range(len(asked)))
    drawn = model.predict("draw", [{"word": word} for word in asked], seed=seeds)
    said = model.predict("say", [{"image": picture} for picture in pictures[: len(asked)]], seed=seeds)
    words = [row["word"] for row in rows]
    return [
        Made("draw", asked, drawn, asked, namer(drawn), share(namer(pictures), words)),
        Made("say", pictures[: len(asked)], said, words[: len(asked)], listener(said), None),
    ]


def share(found: Sequence[str], wanted: Sequence[str]) -> float:
    """Of those that are equal."""
    return sum(one == other for one, other in zip(found, wanted, strict=True)) / len(wanted)
