"""What a model of four directions can do, each beside the recipe that does only that."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import mmkit
from recipes.common.baselines import error_rates
from recipes.common.cache import read_jsonl
from recipes.text_to_image.judge import drawn, judged, sheet
from recipes.text_to_speech.judge import look

GUIDANCE = 2.0


@dataclass(frozen=True)
class Direction:
    """A line of the table.

    Attributes:
        alone: what the README of the recipe for this direction says. less: whether less is better.
    """

    direction: str
    figure: str
    what: str
    alone: float
    less: bool = False

    def worse(self, value: float) -> float:
        """By how much, relatively; less than nothing where it is better."""
        return value / self.alone - 1 if self.less else 1 - value / self.alone


DIRECTIONS = (
    Direction("picture → word", "name", "right, of 10,000", 0.928),
    Direction("word → picture", "draw", "named as asked, guidance 2", 0.804),
    Direction("speech → text", "transcribe", "CER of 92 unseen prompts", 0.167, less=True),
    Direction("text → speech, digits", "speak_digits", "heard right, of 10", 0.70),
    Direction("text → speech, words", "speak_words", "heard right, of 100", 0.68),
)


def measured(
    model: Any, again: Any, output: Path, classifier: Any, folders: Mapping[str, Path], each: int, words: int
) -> dict[str, Any]:
    """All figures; sheets and sounds go into ``output``.

    Args:
        again: the model, loaded from its folder. classifier: names pictures. each, words: as many are drawn and spoken.
    """
    results = mmkit.evaluate(model)
    named, transcribed = results["name"], results["transcribe"]
    right = [one == wanted for one, wanted in zip(named.predictions, named.references, strict=True)]
    pictures = drawn(model, each, GUIDANCE)
    sheet(pictures).save(output / "sheet.png")
    spoken = look(model, output, folders["spoken"], words, [0.0])
    rows, said = spoken["spoken, temperature 0"], [row["text"] for row in read_jsonl(folders["heard"] / "test.jsonl")]
    drawing = judged(classifier, pictures)
    return {
        "figures": {
            "name": float(np.mean(right)),
            "draw": drawing["accuracy"],
            "transcribe": transcribed.metrics["cer"],
            "speak_digits": rows["digits"]["right"],
            "speak_words": rows["words"]["right"],
        },
        "drawn": drawing,
        "spoken": spoken,
        "transcribed": {
            "all": transcribed.metrics,
            "prompts that no direction was trained on": _unheard(transcribed.predictions, said),
            "first": list(zip(said[:8], transcribed.predictions[:8], strict=True)),
        },
        "named": list(zip(named.references[:12], named.predictions[:12], strict=True)),
        "reloaded_answers_the_same": _same(model, again),
    }


def _unheard(answers: list[str], texts: list[str]) -> dict[str, float]:
    """Single words of the test prompts are among those that the model learns to speak; of the others."""
    places = [at for at, text in enumerate(texts) if " " in text]
    return error_rates([answers[at] for at in places], [texts[at] for at in places])


def _same(model: Any, again: Any) -> bool:
    """Whether both draw, name and say the same."""
    drawn_now, drawn_again = (np.asarray(one.predict("draw", {"label": "bag"}, seed=3)) for one in (model, again))
    said_now, said_again = (one.predict("speak", {"text": "seven"})["array"] for one in (model, again))
    named_now, named_again = (one.predict("name", {"image": Image.fromarray(drawn_now)}) for one in (model, again))
    return np.array_equal(drawn_now, drawn_again) and np.array_equal(said_now, said_again) and named_now == named_again
