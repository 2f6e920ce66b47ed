"""Picture → square, normalised tensor. Deterministic; no weights."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from mmkit import Batch, Item, Processor
from mmkit_image.decode import decode

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_FILE = "processor.json"
_ENLARGED = 4
"""Longest side of a picture that is resized whole before its middle is cut out, in sides of the square."""


@dataclass(frozen=True)
class ImageProcessor(Processor):
    """Decodes, makes square, normalises.

    Attributes:
        image_size: side in pixels of the square.
        mean, std: one number a channel, on the scale 0…1; as many as the picture has channels (3: RGB; 1: luma of
            ITU-R 601-2).
        resize: ``squash`` ignores the ratio of the sides; ``crop`` keeps the middle square of the picture once its
            shorter side is ``image_size / crop_pct``; ``pad`` fits it in and fills up with the mean.
        rows: feature rows that the encoder gives for every picture.
        max_megapixels: larger pictures are refused before they are decoded.
        fast_decode: let the JPEG decoder shrink large pictures by 2, 4 or 8, no smaller than they will be.
        chances: random numbers that each picture brings along for the encoder's augmentation. Drawn here, where the
            loader seeds each sample for itself, so that it depends on no batch, rank or worker.
    """

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Literal["squash", "crop", "pad"] = "squash"
    crop_pct: float = 1.0
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    rows: int = 1
    max_megapixels: float = 50.0
    fast_decode: bool = False
    chances: int = 0

    @property
    def deterministic(self) -> bool:  # type: ignore[override]
        """Without random numbers of its own."""
        return self.chances == 0

    def __call__(self, raw: Any) -> Item:
        """``pixels``: Float["channels image_size image_size"]; ``chances``: Float["chances"] in 0…1, where there are any.

        Raises:
            SampleError: the value is not a picture that can be read.
        """
        image = decode(raw, round(self.max_megapixels * 1e6), self._sides if self.fast_decode else None)
        if len(self.mean) == 1:
            image = image.convert("L")
        pixels = self._crop(image) if self.resize == "crop" else self._resized(image, *self._sides(*image.size))
        scale, shift = _constants(self.mean, self.std)
        normal = pixels.to(torch.float32, memory_format=torch.contiguous_format).mul_(scale).add_(shift)
        item = {"pixels": self._pad(normal) if self.resize == "pad" else normal}
        return {**item, "chances": torch.rand(self.chances)} if self.chances else item

    def num_features(self, item: Item) -> int:
        """The same for every picture."""
        return self.rows

    def collate(self, items: Sequence[Item]) -> Batch:
        """``pixels``: Float["items channels image_size image_size"]; ``chances``: Float["items chances"]."""
        return {name: torch.stack([item[name] for item in items]) for name in items[0]}

    def _sides(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the whole picture, once resized."""
        if self.resize == "squash":
            return self.image_size, self.image_size
        if self.resize == "pad":
            scale = self.image_size / max(width, height)
            return max(1, round(width * scale)), max(1, round(height * scale))
        short = max(self.image_size, int(self.image_size / self.crop_pct + 1e-6))
        return (short, short * height // width) if width <= height else (short * width // height, short)

    def _crop(self, image: Image.Image) -> UInt8[Tensor, "channels side side"]:
        """The middle square; cut while resizing where the sides are extreme, so that such a picture is never enlarged
        whole."""
        (width, height), side = image.size, self.image_size
        wide, high = self._sides(width, height)
        left, top = (wide - side) // 2, (high - side) // 2
        if max(wide, high) <= _ENLARGED * side:
            return self._resized(image, wide, high)[:, top : top + side, left : left + side]
        x, y = width / wide, height / high
        box = (left * x, top * y, min(width, (left + side) * x), min(height, (top + side) * y))
        return _tensor(image.resize((side, side), _FILTERS[self.interpolation], box=box))

    def _resized(self, image: Image.Image, width: int, height: int) -> UInt8[Tensor, "channels height width"]:
        """Resized with anti-aliasing. Torch's kernel for three channels of bytes is five times as fast as Pillow's, and
        differs from it by one level in less than one of a hundred values."""
        if image.size == (width, height):
            return _tensor(image)
        if image.mode != "RGB":
            return _tensor(image.resize((width, height), _FILTERS[self.interpolation]))
        given = _tensor(image)[None]
        return functional.interpolate(given, (height, width), mode=self.interpolation, antialias=True)[0]

    def _pad(self, pixels: Float[Tensor, "channels height width"]) -> Float[Tensor, "channels side side"]:
        down, right = (self.image_size - side for side in pixels.shape[1:])
        left, top = right // 2, down // 2
        return functional.pad(pixels, (left, right - left, top, down - top))

    def example(self) -> tuple[str, Any]:
        """A black square of the encoder's size."""
        side = self.image_size
        return f"picture of {side} × {side} pixels", np.zeros((side, side, 3), dtype=np.uint8)

    def plain(self, pixels: Float[Tensor, "items channels high wide"]) -> Float[Tensor, "items channels high wide"]:
        """Normalised pixels on the scale 0 … 1 again."""
        scale, shift = _constants(self.mean, self.std)
        return (pixels - shift) / (scale * 255)

    def pictures(self, pixels: Float[Tensor, "items channels high wide"]) -> list[Image.Image]:
        """Pictures of normalised pixels, ``L`` or ``RGB``."""
        plain = self.plain(pixels.detach().float().cpu()).clamp(0, 1)
        levels = (plain * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
        return [Image.fromarray(one[:, :, 0] if one.shape[2] == 1 else one) for one in levels]

    def with_rows(self, rows: int) -> "ImageProcessor":
        """The same for an encoder that gives this many rows."""
        return replace(self, rows=rows)

    def save(self, folder: Path) -> None:
        """Write the settings."""
        (folder / _FILE).write_text(json.dumps(asdict(self), indent=1), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> "ImageProcessor":
        """Read what ``save`` wrote."""
        fields = json.loads((folder / _FILE).read_text("utf-8"))
        return cls(**{**fields, "mean": tuple(fields["mean"]), "std": tuple(fields["std"])})


def _tensor(image: Image.Image) -> UInt8[Tensor, "channels height width"]:
    """The bytes of a picture, channels last in memory."""
    return torch.from_numpy(np.array(image, dtype=np.uint8)).reshape(image.height, image.width, -1).permute(2, 0, 1)


@lru_cache(maxsize=16)
def _constants(mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Factor and summand that normalise bytes: (x / 255 − mean) / std."""
    deviation = torch.tensor(std)[:, None, None]
    return 1 / (255 * deviation), -torch.tensor(mean)[:, None, None] / deviation
