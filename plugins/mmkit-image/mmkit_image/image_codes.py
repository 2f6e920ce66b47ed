"""A trained picture tokenizer as a vocabulary: a picture is a grid of code numbers, row by row."""

import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from mmkit import BuildContext, Codec, CodeLayout
from mmkit_image.config import FsqImageConfig
from mmkit_image.fsq_image import FsqImage
from mmkit_image.grid_picture import padded, unfinished
from mmkit_image.rebuild_image import RebuildImage
from mmkit_image.trained_codec import Trained


class ImageCodes(Codec):
    """Finite scalar quantisation of a trained encoder; its decoder draws the picture. Runs on the CPU, in float32.

    Attributes:
        grid: rows and columns of the codes.
    """

    grid: tuple[int, int]

    def __init__(self, trained: Trained) -> None:
        self.trained = trained
        config = FsqImageConfig.model_validate(trained.encoder)
        side = config.image_size // 2 ** len(config.channels)
        self.grid = (side, side)
        self.layout = CodeLayout(math.prod(config.levels), 1, side * side, side * side)
        self._network: tuple[FsqImage, RebuildImage] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_network": None}

    @property
    def network(self) -> tuple[FsqImage, RebuildImage]:
        """Encoder and decoder, made when they are first needed in a process."""
        if self._network is None:
            self._network = self.trained.network()
        return self._network

    def quantize(self, raw: Any) -> Int[Tensor, "frames 1"]:
        """The code of every place.

        Raises:
            SampleError: the value is not a picture that can be read.
        """
        encoder, _ = self.network
        processor = encoder.processor()
        with torch.no_grad():
            rows = encoder(processor.collate([processor(raw)]))
        return encoder.fsq.numbers(rows.values)[:, None]

    def restore(self, codes: Int[Tensor, "frames 1"]) -> Image.Image:
        """The picture; grey where codes are missing.

        Raises:
            MmkitError: more codes than the grid has places.
        """
        encoder, decoder = self.network
        numbers = padded(codes, self.grid)
        with torch.no_grad():
            rows = encoder.fsq.values(numbers).T.reshape(1, -1, *self.grid)
            image = decoder.prepared.pictures(decoder.decoder(rows))[0]
        return unfinished(image, self.grid, len(codes))

    def example(self) -> tuple[str, Any]:
        """A black picture of the codec's size."""
        return self.network[0].processor().example()

    def save_assets(self, folder: Path) -> None:
        """Write settings and weights: a saved model needs the codec's folder no more."""
        self.trained.write(folder)


def build(context: BuildContext, *, codec: Path) -> ImageCodes:
    """The tokenizer of a folder."""
    return ImageCodes(Trained.of_assets(context.assets) if context.assets is not None else Trained.of_model(codec))
