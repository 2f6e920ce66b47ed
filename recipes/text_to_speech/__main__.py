"""``python -m recipes.text_to_speech``: train, speak words and prompts, let a recogniser write down what it hears.

The recogniser is Whisper tiny.en, which has never heard the model; the codes are those of the recipe ``speech_tokens``, which is
trained here where its folder under ``runs`` is not there.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from recipes.common.cache import write_json
from recipes.common.errors import RecipeError
from recipes.common.run import RECIPES, data_of, folder_of, link, use_all_cores
from recipes.common.weights import whisper_tiny_en
from recipes.speech_tokens import prepare as speech_tokens
from recipes.text_to_speech import prepare
from recipes.text_to_speech.judge import TASK, look
from recipes.text_to_speech.prepare import NAME

SPEC = "spec.yaml"


def main() -> None:
    """The whole command line."""
    parser = argparse.ArgumentParser(prog=f"python -m recipes.{NAME}", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and dropout")
    parser.add_argument("--words", type=int, default=100, help="words to judge, the ten digits among them")
    parser.add_argument("--temperature", type=float, nargs="*", default=[0.0], help="temperatures to try")
    options = parser.parse_args()
    try:
        data = data_of(prepare)
        whisper_tiny_en()
    except RecipeError as error:
        raise SystemExit(f"{NAME}: {error}") from None
    use_all_cores()
    link(NAME, data, codec=folder_of(speech_tokens.NAME, lambda: data_of(speech_tokens)))
    _print(_run(data, options))


def _run(data: Path, options: argparse.Namespace) -> dict[str, Any]:
    import mmkit

    output = Path("runs") / NAME / f"{Path(SPEC).stem}-{options.seed}"
    started = time.monotonic()
    model = mmkit.train(RECIPES / NAME / SPEC, output=output, seed=options.seed)
    given: dict[str, Any] = {
        "spec": SPEC,
        "seed": options.seed,
        "train_seconds": round(time.monotonic() - started),
        "parameters": sum(p.numel() for p in model.parameters()),
        "reloaded_speaks_the_same": _same(model, mmkit.load(output)),
    }
    given["rows"] = look(model, output, data, options.words, options.temperature)
    write_json(output / "results.json", given)
    return given


def _same(model: Any, again: Any) -> bool:
    import numpy as np

    one, two = (some.predict(TASK, {"text": "seven"})["array"] for some in (model, again))
    return bool(np.array_equal(one, two))


def _print(given: dict[str, Any]) -> None:
    print(f"\n{given['parameters']:,} parameters, seed {given['seed']}, trained {given['train_seconds']} s")
    print(f"reloaded, it speaks the same: {given['reloaded_speaks_the_same']}")
    print("| sounds | digits right | words right | nearest | of the clear ones | WER of prompts | CER |")
    print("|---|---|---|---|---|---|---|")
    for name, row in given["rows"].items():
        words, prompts = row["words"], row["prompts"]
        shares = (row["digits"]["right"], words["right"], words["nearest"], row["words, clear"]["right"])
        print(
            f"| {name} | {' | '.join(f'{one:.2f}' for one in shares)} | {prompts['wer']:.3f} | {prompts['cer']:.3f} |"
        )


if __name__ == "__main__":
    main()
