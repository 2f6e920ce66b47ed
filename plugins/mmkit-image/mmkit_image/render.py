"""Pictures that a model made: in reports, and as PNG files."""

import base64
import io
from typing import Any

from PIL import Image

from mmkit_image.decode import decode

SIDE = 208
"""Longest side in a report; small pictures are shown up to half as long, every pixel as a square."""
_WRITTEN = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def takes(value: Any) -> bool:
    """Pictures of Pillow."""
    return isinstance(value, Image.Image)


def html(value: Any) -> str:
    """Any form of a picture as a PNG inside the page.

    Raises:
        SampleError: it cannot be read.
    """
    image = decode(value)
    image.thumbnail((SIDE, SIDE))
    width = image.width * max(1, SIDE // 2 // max(image.size))
    content = base64.b64encode(_png(image)).decode()
    return f'<img alt="picture" width="{width}" src="data:image/png;base64,{content}">'


def file(value: Image.Image) -> tuple[str, bytes]:
    """As a PNG."""
    return "png", _png(value if value.mode in _WRITTEN else value.convert("RGB"))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
