"""The diagrams of the documentation, drawn by small programs: ``make reference`` writes them to ``docs/images``."""

from functools import partial

from docs.drawing.concepts import graph, ragged, stages, stream
from docs.drawing.learning import contrastive, ctc, targets
from docs.drawing.networks import attention, convolution, positions, recurrence

DRAWINGS = {
    "stream": stream,
    "ragged": ragged,
    "graph": partial(graph, "concepts.md"),
    "index": partial(graph, "index.md"),
    "stages": stages,
    "targets": targets,
    "attention": attention,
    "positions": positions,
    "convolution": convolution,
    "recurrence": recurrence,
    "ctc": ctc,
    "contrastive": contrastive,
}


def drawings() -> dict[str, str]:
    """Every diagram by its place under ``docs``."""
    return {f"images/{name}.svg": draw() for name, draw in DRAWINGS.items()}
