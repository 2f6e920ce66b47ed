"""A small residual convolutional network (He et al. 2016, with the shortcut of He et al. 2019) to learn from scratch."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmkit import BuildContext
from mmkit_image.encoder import ImageEncoder
from mmkit_image.processor import ImageProcessor

_SHIFT = 12
_CHANCES = 3
"""Random numbers of a picture: one to mirror it, two to move it."""


class Cnn(ImageEncoder):
    """A stem at full resolution, then one block for every entry of ``channels``, each halving the side.

    In eval mode a picture's features are the same alone and in any batch; while training, ``norm="batch"`` mixes
    the statistics of a batch and ``norm="group"`` does not.
    """

    def __init__(
        self,
        processor: ImageProcessor,
        channels: Sequence[int],
        norm: Literal["batch", "group"] = "batch",
        residual: bool = True,
        dropout: float = 0.0,
        features: Literal["tokens", "pooled"] = "tokens",
        positions: bool = True,
        augment: Sequence[Literal["flip", "shift"]] = (),
    ) -> None:
        super().__init__(processor)
        self.features, self.augment = features, tuple(augment)
        self.first = nn.Conv2d(len(processor.mean), channels[0], 3, padding=1, bias=False)
        self.stem = nn.Sequential(_norm(norm, channels[0]), nn.ReLU(inplace=True))
        widths = [channels[0], *channels]
        self.stages = nn.Sequential(
            *(Block(into, out, norm, residual) for into, out in zip(widths[:-1], channels, strict=True))
        )
        side = math.ceil(processor.image_size / 2 ** len(channels))
        placed = positions and features == "tokens"
        self.positions = nn.Parameter(torch.randn(side * side, channels[-1]) * 0.02) if placed else None
        self.dropout = nn.Dropout(dropout)
        self.measure()

    def rows(self, pixels: Float[Tensor, "items channels side side"]) -> Float[Tensor, "items rows dim"]:
        """The last map, or its mean."""
        # channels last: about a fifth faster on a CPU; the weights stay as they are, so that they save as usual
        maps = self.first(pixels.contiguous(memory_format=torch.channels_last))
        maps = self.stem(maps.contiguous(memory_format=torch.channels_last))
        rows = self.stages(maps).flatten(2).transpose(1, 2)
        if self.features == "pooled":
            rows = rows.mean(1, keepdim=True)
        return self.dropout(rows if self.positions is None else rows + self.positions)

    def augmented(
        self, pixels: Float[Tensor, "items channels side side"], chances: Float[Tensor, "items chances"]
    ) -> Float[Tensor, "items channels side side"]:
        """Mirrored, moved."""
        if "flip" in self.augment:
            pixels = flip(pixels, chances[:, 0])
        return shift(pixels, max(1, pixels.shape[-1] // _SHIFT), chances[:, 1:]) if "shift" in self.augment else pixels


class Block(nn.Module):
    """Two 3×3 convolutions, the first of stride 2; the shortcut averages 2×2 places and projects them."""

    def __init__(self, into: int, out: int, norm: Literal["batch", "group"], residual: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(into, out, 3, stride=2, padding=1, bias=False),
            _norm(norm, out),
            nn.ReLU(inplace=True),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            _norm(norm, out),
        )
        self.shortcut = (
            nn.Sequential(
                nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False),
                nn.Conv2d(into, out, 1, bias=False),
                _norm(norm, out),
            )
            if residual
            else None
        )

    def forward(self, x: Float[Tensor, "items into high wide"]) -> Float[Tensor, "items out half_high half_wide"]:
        """Half the side, rounded up."""
        y = self.body(x)
        return torch.relu(y if self.shortcut is None else y + self.shortcut(x))


def _norm(kind: Literal["batch", "group"], channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(math.gcd(8, channels), channels)


def flip(
    pixels: Float[Tensor, "items channels high wide"], chances: Float[Tensor, " items"]
) -> Float[Tensor, "items channels high wide"]:
    """Mirror each picture left to right with probability one half; ``chances`` are uniform in 0…1."""
    return torch.where((chances < 0.5)[:, None, None, None], pixels.flip(3), pixels)


def shift(
    pixels: Float[Tensor, "items channels high wide"], most: int, chances: Float[Tensor, "items 2"]
) -> Float[Tensor, "items channels high wide"]:
    """Move each picture by up to ``most`` pixels either way; its edge is repeated. ``chances`` are uniform in 0…1."""
    items, channels, high, wide = pixels.shape
    device = pixels.device
    move = (chances * (2 * most + 1)).long() - most
    down = (torch.arange(high, device=device) + move[:, :1]).clamp(0, high - 1)
    right = (torch.arange(wide, device=device) + move[:, 1:]).clamp(0, wide - 1)
    moved = pixels.gather(2, down[:, None, :, None].expand(items, channels, high, wide))
    return moved.gather(3, right[:, None, None, :].expand(items, channels, high, wide))


def build(
    context: BuildContext,
    *,
    max_megapixels: float,
    image_size: int,
    channels: list[int],
    in_channels: int,
    norm: Literal["batch", "group"],
    residual: bool,
    dropout: float,
    features: Literal["tokens", "pooled"],
    positions: bool,
    resize: Literal["squash", "crop", "pad"],
    fast_decode: bool,
    augment: list[Literal["flip", "shift"]],
) -> Cnn:
    """Fresh weights; pictures are scaled to -1 … 1."""
    half = (0.5,) * in_channels
    chances = _CHANCES if augment else 0
    processor = ImageProcessor(
        image_size, half, half, resize, max_megapixels=max_megapixels, fast_decode=fast_decode, chances=chances
    )
    return Cnn(processor, channels, norm, residual, dropout, features, positions, augment)
