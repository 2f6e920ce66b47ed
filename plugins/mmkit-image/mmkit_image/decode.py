"""Any form of a picture → RGB, uint8. Limits hold before anything is decoded."""

import io
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from mmkit import SampleError
from mmkit_image.convert import array_to_rgb, image_to_rgb
from mmkit_image.frames import more_frames_than

MAX_PIXELS = 50_000_000
MIN_SIDE = 2
MAX_FRAMES = 1000
MAX_BYTES = 64 * 2**20
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Raster formats that are read; formats that run interpreters (EPS) or nest others (ICO, PSD) are not. MPO is JPEG to Pillow."""

_FORMS = "a path, bytes, a PIL image, a NumPy array, a tensor, or {'bytes': …, 'path': …}"


Fit = Callable[[int, int], tuple[int, int]]
"""Width and height of a picture → those that it will be resized to."""


def decode(raw: Any, max_pixels: int = MAX_PIXELS, fit: Fit | None = None) -> Image.Image:
    """An RGB picture of one raw value.

    Args:
        raw: path (``str`` or ``Path``), ``bytes``, PIL image, array (H×W, H×W×1, H×W×3 or H×W×4; bool, uint8, uint16,
            or float in 0…1), tensor (H×W, or the same channel counts first), or a mapping with ``bytes`` or ``path``
            as ``datasets`` gives with ``decode=False``.
        max_pixels: larger pictures are refused by their header.
        fit: lets JPEG files be decoded at 1/2, 1/4 or 1/8 of their sides, no smaller than what they will be resized to.

    Orientation of EXIF is applied, transparency is laid over white, the first frame of several is taken, colour
    profiles are ignored.

    Raises:
        SampleError: missing, empty, corrupt, truncated, too large (``max_pixels``, 64 MiB, 1000 frames), smaller than
            2 × 2, or not a picture.
    """
    if isinstance(raw, Mapping):
        raw = _of_mapping(raw)
    if isinstance(raw, (str, Path)):
        return _of_bytes(_read(raw), f"image file {str(raw)!r}", max_pixels, fit)
    if isinstance(raw, (bytes, bytearray, memoryview)):
        _check_bytes(memoryview(raw).nbytes, "image bytes")
        return _of_bytes(bytes(raw), "image bytes", max_pixels, fit)
    if isinstance(raw, Image.Image):
        return _of_image(raw, "PIL image", None, max_pixels)
    if isinstance(raw, torch.Tensor):
        raw = raw.detach().cpu()
        raw = raw.float() if raw.dtype == torch.bfloat16 else raw
        array = raw.permute(1, 2, 0).numpy() if raw.ndim == 3 else raw.numpy()
        where = f"image tensor of shape {tuple(raw.shape)}"
        return _of_array(array, where, "C×H×W with 1, 3 or 4 channels", max_pixels)
    if isinstance(raw, np.ndarray):
        return _of_array(raw, f"image array of shape {raw.shape}", "H×W×C with 1, 3 or 4 channels", max_pixels)
    raise SampleError(f"an image must be {_FORMS}; got {type(raw).__name__}")


def _of_mapping(raw: Mapping[Any, Any]) -> Any:
    for key, kinds in (("bytes", (bytes, bytearray, memoryview)), ("path", (str, Path))):
        if isinstance(raw.get(key), kinds):
            return raw[key]
    keys = ", ".join(f"{key!r} ({type(value).__name__})" for key, value in raw.items()) or "nothing"
    raise SampleError(f"an image given as a mapping needs 'bytes' or a 'path'; got {keys}")


def _read(path: str | Path) -> bytes:
    where = f"image file {str(path)!r}"
    try:
        if not Path(path).exists():
            raise SampleError(f"{where}: does not exist")
        if not Path(path).is_file():
            raise SampleError(f"{where}: not a file")
        _check_bytes(Path(path).stat().st_size, where)
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise SampleError(f"{where}: cannot be read ({error})") from None


def _check_bytes(size: int, where: str) -> None:
    if size > MAX_BYTES:
        raise SampleError(f"{where}: {size / 2**20:.1f} MiB; at most {MAX_BYTES // 2**20} MiB are read")


def _of_bytes(data: bytes, where: str, most: int, fit: Fit | None) -> Image.Image:
    if not data:
        raise SampleError(f"{where}: empty (0 bytes)")
    try:
        image = Image.open(io.BytesIO(data), formats=_formats())
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(where, _claimed(str(error)), most) from None
    except UnidentifiedImageError:
        raise SampleError(f"{where}: not an image, or its header is cut; read are {', '.join(_formats())}") from None
    except Exception as error:
        raise SampleError(f"{where}: corrupt ({type(error).__name__}: {error})") from None
    _check_size(*image.size, where, most)
    if fit is not None and image.format in ("JPEG", "MPO"):
        image.draft(image.mode, fit(*image.size))
    return _of_image(image, where, data, most)


@cache
def _formats() -> tuple[str, ...]:
    """Those of ``FORMATS`` that this build of Pillow can read."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _claimed(message: str) -> int:
    """The pixels that Pillow's message names."""
    found = re.search(r"\((\d+) pixels\)", message)
    return int(found[1]) if found else 0


def _too_large(where: str, pixels: int, most: int) -> SampleError:
    return SampleError(
        f"{where}: {pixels / 1e6:.1f} megapixels; at most {most / 1e6:g} are decoded: "
        "make it smaller, or raise max_megapixels"
    )


def _check_size(width: int, height: int, where: str, most: int) -> None:
    if width * height > most:
        raise _too_large(where, width * height, most)
    if min(width, height) < MIN_SIDE:
        raise SampleError(f"{where}: {width} × {height} pixels; at least {MIN_SIDE} × {MIN_SIDE} are needed")


def _of_image(image: Image.Image, where: str, data: bytes | None, most: int) -> Image.Image:
    _check_size(*image.size, where, most)
    try:
        if data is not None and more_frames_than(MAX_FRAMES, image, data):
            raise SampleError(f"{where}: more than {MAX_FRAMES} frames, the most that a picture may have")
        image.load()
        _check_size(*image.size, where, most)
        return image_to_rgb(image, where)
    except SampleError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(where, _claimed(str(error)), most) from None
    except Exception as error:
        kind = "truncated" if "truncated" in str(error).lower() else "corrupt"
        raise SampleError(f"{where}: {kind} ({type(error).__name__}: {error})") from None


def _of_array(array: np.ndarray, where: str, wanted: str, most: int) -> Image.Image:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise SampleError(f"{where}: wanted H×W, or {wanted}")
    _check_size(array.shape[1], array.shape[0], where, most)
    return array_to_rgb(array, where)
