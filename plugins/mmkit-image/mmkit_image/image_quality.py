"""How near predicted pictures come to their references, pixel by pixel."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mmkit import BuildContext, PluginError, SampleError
from mmkit_image.decode import decode

MOST_DB = 100.0
WINDOW = 11
"""Side of the window that SSIM looks through."""


class ImageQuality:
    """``psnr``: peak signal-to-noise ratio in decibels, the mean over pictures, of which equal ones count 100.
    ``ssim``: structural similarity, at most 1 (Wang et al. 2004; Gaussian window of 11 pixels, by torchmetrics).

    References are brought to the size of their predictions (bicubic). SSIM is left out of pictures with a side below 11.
    """

    def __init__(self) -> None:
        self.psnr: list[float] = []
        self.ssim: list[float] = []

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Add a batch of pictures in any form.

        Raises:
            PluginError: a value is no picture.
        """
        from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

        for prediction, reference in zip(predictions, references, strict=True):
            got = picture("image-quality", prediction, "prediction")
            wanted = picture("image-quality", reference, "reference")
            if wanted.size != got.size:
                wanted = wanted.resize(got.size, Image.Resampling.BICUBIC)
            one, other = _pixels(got), _pixels(wanted)
            psnr = float(peak_signal_noise_ratio(one, other, data_range=1.0))
            self.psnr.append(min(psnr, MOST_DB))
            if min(got.size) >= WINDOW:
                ssim = structural_similarity_index_measure(one, other, data_range=1.0)
                assert isinstance(ssim, Tensor)
                self.ssim.append(float(ssim))

    def compute(self) -> dict[str, float]:
        """The means; empty where nothing was added."""
        found = {"psnr": self.psnr, "ssim": self.ssim}
        return {name: sum(values) / len(values) for name, values in found.items() if values}


def picture(metric: str, value: Any, what: str) -> Image.Image:
    """Any form of a picture, RGB.

    Raises:
        PluginError: it is none.
    """
    try:
        return decode(value)
    except SampleError as error:
        raise PluginError(f"metric {metric!r} compares pictures, but of a {what}: {error}") from None


def _pixels(image: Image.Image) -> Float[Tensor, "1 3 height width"]:
    array = np.asarray(image, dtype=np.float32) / 255
    return torch.from_numpy(array).permute(2, 0, 1)[None]


def build(context: BuildContext) -> ImageQuality:
    """Without settings."""
    return ImageQuality()
