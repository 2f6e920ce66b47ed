"""Pixels of any kind → RGB, uint8."""

import numpy as np
from PIL import Image

from mmkit import SampleError

_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF 2.32, tag Orientation → the turn that undoes it."""


def image_to_rgb(image: Image.Image, where: str) -> Image.Image:
    """A decoded picture of any mode, upright, in RGB: the given one, where it is that already; it stays as it is."""
    turn = _TURNS.get(_orientation(image))
    if image.mode.startswith(("I", "F")):
        upright = array_to_rgb(_scaled(np.asarray(image), where), where)
    elif image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        upright = _over_white(image.convert("RGBA"))
    else:
        upright = image if image.mode == "RGB" else image.convert("RGB")
    return upright.transpose(turn) if turn is not None else upright


def array_to_rgb(array: np.ndarray, where: str) -> Image.Image:
    """H×W or H×W×{1, 3, 4}: bool, uint8, uint16 (0…65535 is 0…255), or float (0…1 is 0…255).

    Raises:
        SampleError: another type, or a float outside 0…1 or not finite.
    """
    pixels = _to_uint8(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array, where)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return _over_white(image) if image.mode == "RGBA" else image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """The orientation tag; a damaged EXIF block counts as none, as in browsers."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:
        return 1


def _over_white(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _scaled(values: np.ndarray, where: str) -> np.ndarray:
    """Values of the modes I (32 bits, read as 16-bit brightness), I;16 … and F in a type of ``array_to_rgb``."""
    if values.dtype.kind != "i":
        return values
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise SampleError(f"{where}: 32-bit values {low} to {high}; brightness is read on the scale 0 to 65535")
    return values.astype(np.uint16)


def _to_uint8(array: np.ndarray, where: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.dtype.kind != "f":
        raise SampleError(f"{where}: type {array.dtype}; allowed: bool, uint8, uint16, and floats in 0…1")
    if not np.isfinite(array).all():
        raise SampleError(f"{where}: has values that are not finite (NaN or infinite)")
    low, high = float(array.min()), float(array.max())
    if low < -1e-3 or high > 1 + 1e-3:
        raise SampleError(f"{where}: floats from {low:g} to {high:g}; wanted 0…1: divide by the largest value allowed")
    return (array.clip(0, 1) * 255).round().astype(np.uint8)
