"""``python -m recipes.any_to_any``: train one model in four directions, and measure each beside the recipe that does only that.

The codecs are those of the recipes ``image_tokens`` and ``speech_tokens``, the classifier that names what is drawn that of
``image_classification``; they are trained here where their folders under ``runs`` are not there. Whisper tiny.en listens.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recipes.any_to_any.measure import DIRECTIONS, measured
from recipes.common.cache import write_json
from recipes.common.errors import RecipeError
from recipes.common.run import RECIPES, data_of, folder_of, link, use_all_cores
from recipes.common.weights import whisper_tiny_en
from recipes.image_classification import prepare as pictures
from recipes.image_tokens import prepare as image_tokens
from recipes.speech_recognition import prepare as heard
from recipes.speech_tokens import prepare as speech_tokens
from recipes.text_to_speech import prepare as spoken

NAME, SPEC = "any_to_any", "spec.yaml"


def main() -> None:
    """The whole command line."""
    parser = argparse.ArgumentParser(prog=f"python -m recipes.{NAME}", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and dropout")
    parser.add_argument("--each", type=int, default=50, help="pictures of every article to draw")
    parser.add_argument("--words", type=int, default=100, help="words to speak, the ten digits among them")
    options = parser.parse_args()
    try:
        folders = {name: data_of(one) for name, one in DATA.items()}
        weights = whisper_tiny_en()
    except RecipeError as error:
        raise SystemExit(f"{NAME}: {error}") from None
    use_all_cores()
    judge = folder_of(pictures.NAME, lambda: folders["pictures"])
    folders["image_codec"] = folder_of(image_tokens.NAME, lambda: folders["pictures"])
    folders["speech_codec"] = folder_of(speech_tokens.NAME, lambda: data_of(speech_tokens))
    link(NAME, beside(folders), [weights])
    _print(_run(judge, folders, options))


DATA = {"pictures": pictures, "heard": heard, "spoken": spoken}


def beside(folders: Mapping[str, Path]) -> Path:
    """A folder of links to these folders, which the spec calls ``data``."""
    place = Path("runs") / NAME / "data"
    place.mkdir(parents=True, exist_ok=True)
    for name, folder in folders.items():
        path = place / name
        path.unlink(missing_ok=True)
        path.symlink_to(folder.resolve(), target_is_directory=True)
    return place


def _run(judge: Path, folders: Mapping[str, Path], options: argparse.Namespace) -> dict[str, Any]:
    import mmkit

    output = Path("runs") / NAME / f"{Path(SPEC).stem}-{options.seed}"
    started = time.monotonic()
    model = mmkit.train(RECIPES / NAME / SPEC, output=output, seed=options.seed)
    given: dict[str, Any] = {
        "spec": SPEC,
        "seed": options.seed,
        "train_seconds": round(time.monotonic() - started),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    given |= measured(model, mmkit.load(output), output, mmkit.load(judge), folders, options.each, options.words)
    write_json(output / "results.json", given)
    return given


def _print(given: dict[str, Any]) -> None:
    print(f"\n{given['parameters']:,} parameters, seed {given['seed']}, trained {given['train_seconds']} s")
    print(f"reloaded, it answers the same: {given['reloaded_answers_the_same']}")
    print("| direction | figure | this model | the recipe for it alone | worse by |\n|---|---|---|---|---|")
    for row in DIRECTIONS:
        value = given["figures"][row.figure]
        print(f"| {row.direction} | {row.what} | {value:.3f} | {row.alone:.3f} | {row.worse(value):+.1%} |")


if __name__ == "__main__":
    main()
