"""``python -m recipes.speech_tokens``: data, training, evaluation, the table beside the baseline, and what a recogniser hears."""

from pathlib import Path

from recipes.common.cache import write_json
from recipes.common.run import Figure, Variant, run
from recipes.speech_tokens.hear import CODEC, COPY, ORIGINAL, look
from recipes.speech_tokens.prepare import MEAN, NAME, VERSION, make

VARIANTS = [Variant("spec.yaml", [Figure("rebuild", metric, MEAN) for metric in ("mel_distance", "loss")])]

if __name__ == "__main__":
    for given in run(NAME, VERSION, make, VARIANTS, weights=["whisper_tiny_en"]):
        folder = Path("runs") / NAME / f"{Path(given['spec']).stem}-{given['seed']}"
        given["sounds"] = look(folder)
        write_json(folder / "results.json", given)
        print(given["sounds"]["codes"])
        print("| what Whisper tiny.en hears | CER | WER | log-mel distance, dB |\n|---|---|---|---|")
        for name in (ORIGINAL, COPY, CODEC):
            one = given["sounds"][name]
            print(f"| {name} | {one['cer']:.3f} | {one['wer']:.3f} | {one['mel_distance']:.2f} |")
        print(f"sounds: {folder}")
