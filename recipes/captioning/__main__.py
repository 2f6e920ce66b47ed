"""``python -m recipes.captioning``: data, training, evaluation, the tables beside the baselines."""

from recipes.captioning.prepare import NAME, VERSION, make
from recipes.common.run import Figure, Variant, run

STAMPS = "stamps: always the most typical caption"
EMOJI = "emoji: always the most typical name"
STYLE = "emoji in the other style: always the most typical name"
VARIANTS = [
    Variant("stamps.yaml", [Figure("caption", metric, STAMPS) for metric in ("bleu", "chrf")]),
    Variant(
        "emoji.yaml",
        [
            *(Figure("name", metric, EMOJI) for metric in ("bleu", "chrf")),
            *(Figure("name_in_other_style", metric, STYLE) for metric in ("bleu", "chrf")),
        ],
    ),
]

if __name__ == "__main__":
    run(NAME, VERSION, make, VARIANTS, weights=["efficientnet_lite0", "smollm2_135m"])
