"""Pictures as patches of pixels, row by row, and back."""

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mmkit import BuildContext, ContinuousAdapter
from mmkit_image.processor import ImageProcessor


class ImagePatches(ContinuousAdapter):
    """A square picture as its patches, from the top left, row by row; a patch has its pixels row by row, the channels of a
    pixel side by side, in -1 … 1."""

    def __init__(self, processor: ImageProcessor, patch: int) -> None:
        self.processor, self.patch = processor, patch
        self.channels = len(processor.mean)
        self.grid = processor.image_size // patch
        self.length, self.dim = self.grid**2, patch * patch * self.channels

    def encode(self, raw: Any) -> Float[Tensor, "length dim"]:
        """Float32.

        Raises:
            SampleError: the value is not a picture that can be read.
        """
        pixels = self.processor(raw)["pixels"]
        blocks = pixels.unflatten(1, (self.grid, self.patch)).unflatten(3, (self.grid, self.patch))
        return blocks.permute(1, 3, 2, 4, 0).reshape(self.length, self.dim)

    def decode(self, vectors: Float[Tensor, "length dim"]) -> Image.Image:
        """A picture of mode L (one channel) or RGB; numbers below -1 are black, above 1 white."""
        blocks = vectors.float().reshape(self.grid, self.grid, self.patch, self.patch, self.channels)
        side = self.processor.image_size
        pixels = blocks.transpose(1, 2).reshape(side, side, self.channels)
        levels = ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
        return Image.fromarray(np.ascontiguousarray(levels[:, :, 0] if self.channels == 1 else levels))

    def example(self) -> tuple[str, Any]:
        """A black square of its size."""
        return self.processor.example()


def build(
    context: BuildContext,
    *,
    max_megapixels: float,
    image_size: int,
    patch: int,
    channels: int,
    resize: Literal["squash", "crop", "pad"],
) -> ImagePatches:
    """Pixels are scaled to -1 … 1."""
    half = (0.5,) * channels
    return ImagePatches(ImageProcessor(image_size, half, half, resize, max_megapixels=max_megapixels), patch)
