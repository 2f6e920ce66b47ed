"""``python -m recipes.speech_recognition``: data, training, evaluation, the tables beside the baselines."""

from recipes.common.run import Figure, Variant, run
from recipes.speech_recognition.prepare import NAME, VERSION, make

NOTHING = "say nothing"
FIGURES = [Figure("transcribe", metric, NOTHING) for metric in ("cer", "wer")]
VARIANTS = [
    Variant(spec, FIGURES)
    for spec in ("whisper_ctc.yaml", "whisper_ctc_tuned.yaml", "whisper_lm.yaml", "conformer.yaml")
]

if __name__ == "__main__":
    run(NAME, VERSION, make, VARIANTS, weights=["whisper_tiny_en", "smollm2_135m"])
