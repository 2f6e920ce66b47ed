"""A head that rebuilds the picture which the encoder it reads was given: the decoder of a tokenizer, or of an autoencoder."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mmkit import BuildContext, Loss, Metric, PluginError, Ragged, TaskHead
from mmkit_image.picture_scores import PictureScores
from mmkit_image.processor import ImageProcessor
from mmkit_image.residual import Residual, norm


class RebuildImage(TaskHead):
    """Rows of a square grid → pixels. Residual blocks; every entry of ``channels`` doubles the side (sub-pixel convolution,
    Shi et al. 2016).

    Args:
        dim: width of the rows.
        processor: prepares the target as the encoder's input is prepared.
    """

    def __init__(
        self,
        dim: int,
        processor: ImageProcessor,
        channels: Sequence[int],
        blocks: int,
        loss_name: Literal["mse", "mae"],
    ) -> None:
        super().__init__()
        self.prepared, self.loss_name = replace(processor, chances=0), loss_name
        self.grid = processor.image_size // 2 ** len(channels)
        colours = len(processor.mean)
        parts: list[nn.Module] = [nn.Conv2d(dim, channels[0], 3, padding=1)]
        for place, width in enumerate(channels):
            last = place + 1 == len(channels)
            into = colours if last else channels[place + 1]
            parts += [Residual(width) for _ in range(blocks)]
            parts += [norm(width), nn.SiLU()] if last else []
            parts += [nn.Conv2d(width, 4 * into, 3, padding=1), nn.PixelShuffle(2)]
        self.decoder = nn.Sequential(*parts)

    def target(self, raw: Any) -> Float[Tensor, " values"]:
        """The normalised pixels of a picture, channel by channel.

        Raises:
            SampleError: the value is not a picture that can be read.
        """
        return self.prepared(raw)["pixels"].flatten()

    def pixels(self, features: Ragged) -> Float[Tensor, "items channels side side"]:
        """Normalised pixels of every item.

        Raises:
            PluginError: an item has not one row for every place of the grid.
        """
        places = self.grid**2
        odd = next((size for size in features.sizes if size != places), None)
        if odd is not None:
            raise PluginError(
                f"head 'rebuild-image' makes a picture of {places} rows, a sample has {odd}; it has to read the encoder of "
                "one picture, without a class token or pooling"
            )
        maps = features.values.reshape(len(features), self.grid, self.grid, -1).permute(0, 3, 1, 2)
        made: Tensor = self.decoder(maps)
        return made

    def loss(self, features: Sequence[Ragged], targets: Ragged) -> Loss:
        """Summed over pictures, of the mean over their values."""
        got = self.pixels(features[0]).flatten(1).float()
        wanted = targets.values.float().reshape(got.shape)
        error = functional.l1_loss if self.loss_name == "mae" else functional.mse_loss
        return Loss(error(got, wanted, reduction="none").mean(1).sum(), len(targets))

    def predict(self, features: Sequence[Ragged]) -> list[Any]:
        """A ``PIL.Image`` a sample, ``L`` or ``RGB``."""
        return self.prepared.pictures(self.pixels(features[0]))

    def metrics(self) -> list[Metric]:
        """``psnr`` and ``ssim``."""
        return [PictureScores(self.prepared)]


def build(
    context: BuildContext,
    *,
    channels: list[int],
    blocks: int,
    loss: Literal["mse", "mae"],
    image_size: int | None,
    in_channels: int | None,
) -> RebuildImage:
    """A decoder for the encoder that it reads."""
    read = context.processors[0] if context.processors else None
    if isinstance(read, ImageProcessor):
        said = {"image_size": (image_size, read.image_size), "in_channels": (in_channels, len(read.mean))}
        for name, (given, known) in said.items():
            if given not in (None, known):
                raise PluginError(
                    f"head 'rebuild-image': {name} is {given}, and {known} in the encoder that it reads; leave it out"
                )
        _fits(read, len(channels))
        return RebuildImage(context.dims[0], read, channels, blocks, loss)
    if image_size is None or in_channels is None:
        raise PluginError(
            "head 'rebuild-image' reads no encoder of pictures, and so does not know their size: let it read one, for "
            "example reads: image.encoder, or give image_size and in_channels"
        )
    half = (0.5,) * in_channels
    return RebuildImage(context.dims[0], ImageProcessor(image_size, half, half), channels, blocks, loss)


def _fits(processor: ImageProcessor, doublings: int) -> None:
    side = math.isqrt(processor.rows)
    if side**2 == processor.rows and side * 2**doublings == processor.image_size:
        return
    size, rows = processor.image_size, processor.rows
    times = size // side if side**2 == rows and size % side == 0 else 0
    wanted = times.bit_length() - 1
    fix = (
        f"give {wanted} of them"
        if times > 1 and times == 2**wanted
        else "it needs a square grid of 1/2, 1/4 … of the side"
    )
    raise PluginError(
        f"head 'rebuild-image': channels has {doublings} entries, each doubles the side, and the encoder gives {rows} rows "
        f"for a picture of {size} × {size}; {fix}"
    )
