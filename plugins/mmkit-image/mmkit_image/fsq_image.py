"""The encoder of a picture tokenizer: a small residual network whose last map is quantised."""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from mmkit import BuildContext
from mmkit_image.encoder import ImageEncoder
from mmkit_image.fsq import Fsq
from mmkit_image.processor import ImageProcessor
from mmkit_image.residual import Residual, norm


class FsqImage(ImageEncoder):
    """Every entry of ``channels`` halves the side; every place of the last map becomes one number a level, quantised.

    Features: Float["places levels"] in -1 … 1, row by row from the top left; gradients pass straight through the rounding.

    Attributes:
        fsq: quantised features ⇄ code numbers.
    """

    def __init__(self, processor: ImageProcessor, channels: Sequence[int], blocks: int, levels: Sequence[int]) -> None:
        super().__init__(processor)
        self.fsq = Fsq(levels)
        parts: list[nn.Module] = []
        width = len(processor.mean)
        for out in channels:
            parts += [nn.Conv2d(width, out, 4, stride=2, padding=1), *(Residual(out) for _ in range(blocks))]
            width = out
        self.body = nn.Sequential(*parts, norm(width), nn.SiLU())
        self.project = nn.Conv2d(width, len(levels), 1)
        self.measure()

    def rows(self, pixels: Float[Tensor, "items channels side side"]) -> Float[Tensor, "items rows dim"]:
        """Quantised numbers of every place."""
        places = self.project(self.body(pixels)).flatten(2).transpose(1, 2)
        return self.fsq(places).to(pixels.dtype)


def build(
    context: BuildContext,
    *,
    max_megapixels: float,
    image_size: int,
    in_channels: int,
    channels: list[int],
    blocks: int,
    levels: list[int],
    resize: Literal["squash", "crop", "pad"],
    fast_decode: bool,
) -> FsqImage:
    """Fresh weights; pictures are scaled to -1 … 1."""
    half = (0.5,) * in_channels
    processor = ImageProcessor(image_size, half, half, resize, max_megapixels=max_megapixels, fast_decode=fast_decode)
    return FsqImage(processor, channels, blocks, levels)
