"""``python -m recipes.image_text_retrieval``: data, weights, two towers, recall beside chance, and some searches."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float

from recipes.common.cache import read_jsonl, recipe_folder
from recipes.common.run import Figure, Variant, run
from recipes.image_text_retrieval.prepare import NAME, VERSION, make

QUERIES = ("an animal with a long neck", "something to drink", "two people in love", "it is raining", "a red fruit")
FIGURES = [
    Figure(task, f"recall@{k}_{way}", f"test_{task}: chance", f"recall@{k}")
    for task in ("stamps", "emoji")
    for way in ("a2b", "b2a")
    for k in (1, 5, 10)
]
VARIANTS = [Variant("frozen.yaml", FIGURES), Variant("spec.yaml", FIGURES)]


def searches(given: dict[str, Any], count: int = 3) -> None:
    """Print what test pictures and free texts find."""
    import mmkit

    model = mmkit.load(Path("runs") / NAME / f"{Path(given['spec']).stem}-{given['seed']}")
    root = recipe_folder(NAME)
    for task in ("stamps", "emoji"):
        rows = read_jsonl(root / f"test_{task}.jsonl")
        found = model.predict(task, rows, root=root)
        pictures, captions = (torch.tensor([one[side] for one in found]) for side in ("a", "b"))
        for row, scores in list(zip(rows, pictures @ captions.T, strict=True))[:8]:
            print(f"  {task}: picture of {row['caption']!r} finds {best(rows, scores, count)}")
        asked = [{"image": rows[0]["image"], "caption": query} for query in QUERIES]
        texts = torch.tensor([one["b"] for one in model.predict(task, asked, root=root)])
        for query, scores in zip(QUERIES, texts @ pictures.T, strict=True):
            print(f"  {task}: text {query!r} finds the pictures of {best(rows, scores, count)}")


def best(rows: list[dict[str, Any]], scores: Float[torch.Tensor, " rows"], count: int) -> list[str]:
    """Captions of the rows that score highest."""
    return [rows[index]["caption"] for index in scores.topk(count).indices.tolist()]


if __name__ == "__main__":
    for one in run(NAME, VERSION, make, VARIANTS, weights=["efficientnet_lite0", "minilm"]):
        searches(one)
