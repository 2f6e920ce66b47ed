"""The report's pictures: what the model was shown, what it said, what was right."""

import base64
import io
from typing import Any

from mmkit import Evaluation
from mmkit_image.decode import decode

SIDE = 208


def pictures(evaluation: Evaluation) -> str | None:
    """A card a sample, of every task that reads pictures."""
    return evaluation.cards("image", _shown)


def _shown(raw: Any) -> str:
    image = decode(raw)
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f'<img alt="input" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
