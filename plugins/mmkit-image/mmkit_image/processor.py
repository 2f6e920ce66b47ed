"""Picture → square, normalised tensor. Deterministic; no weights."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from mmkit import Batch, Item, Processor
from mmkit_image.decode import decode

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_FILE = "processor.json"


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
    """

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Literal["squash", "crop", "pad"] = "squash"
    crop_pct: float = 1.0
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    rows: int = 1
    deterministic = True

    def __call__(self, raw: Any) -> Item:
        """``pixels``: Float["channels image_size image_size"].

        Raises:
            SampleError: the value is not a picture that can be read.
        """
        image = decode(raw)
        if len(self.mean) == 1:
            image = image.convert("L")
        if self.resize == "crop":
            image = self._crop(image)
        elif self.resize == "pad":
            image = self._fit(image)
        elif image.size != (self.image_size, self.image_size):
            image = image.resize((self.image_size, self.image_size), _FILTERS[self.interpolation])
        pixels = torch.from_numpy(np.array(image, dtype=np.uint8)).reshape(image.height, image.width, -1)
        normal = pixels.permute(2, 0, 1).float().div_(255)
        normal = (normal - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]
        return {"pixels": self._pad(normal).contiguous()}

    def num_features(self, item: Item) -> int:
        """The same for every picture."""
        return self.rows

    def collate(self, items: Sequence[Item]) -> Batch:
        """``pixels``: Float["items channels image_size image_size"]."""
        return {"pixels": torch.stack([item["pixels"] for item in items])}

    def _crop(self, image: Image.Image) -> Image.Image:
        """The middle square, cut while resizing, so that a picture with extreme sides is never enlarged whole."""
        width, height = image.size
        short = max(self.image_size, int(self.image_size / self.crop_pct + 1e-6))
        wide, high = (short, short * height // width) if width <= height else (short * width // height, short)
        left, top = (wide - self.image_size) // 2, (high - self.image_size) // 2
        x, y = width / wide, height / high
        box = (left * x, top * y, min(width, (left + self.image_size) * x), min(height, (top + self.image_size) * y))
        return image.resize((self.image_size, self.image_size), _FILTERS[self.interpolation], box=box)

    def _fit(self, image: Image.Image) -> Image.Image:
        scale = self.image_size / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        return image.resize((width, height), _FILTERS[self.interpolation])

    def _pad(self, pixels: torch.Tensor) -> torch.Tensor:
        down, right = (self.image_size - side for side in pixels.shape[1:])
        left, top = right // 2, down // 2
        return torch.nn.functional.pad(pixels, (left, right - left, top, down - top))

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
