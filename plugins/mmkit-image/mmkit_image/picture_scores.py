"""How near rebuilt pictures come to their originals, by torchmetrics, which is imported when a figure is computed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mmkit import PluginError
from mmkit_image.decode import decode
from mmkit_image.processor import ImageProcessor

_MOST = 100.0
"""PSNR of two pictures that are the same, in dB; its formula gives infinity."""

_BATCH = 32
"""Pictures that are compared at once: memory stays small however many there are."""


class PictureScores:
    """``psnr``: peak signal-to-noise ratio in dB; ``ssim``: structural similarity (Wang et al. 2004), 1 for the same picture.
    Means over pictures; the original is made square as the encoder's input is.
    """

    def __init__(self, processor: ImageProcessor) -> None:
        self.processor = processor
        self.psnr = self.ssim = 0.0
        self.count = 0

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Add a batch of pictures and raw originals.

        Raises:
            PluginError: a prediction is of another size.
        """
        for at in range(0, len(predictions), _BATCH):
            self._add(predictions[at : at + _BATCH], references[at : at + _BATCH])

    def _add(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

        got = torch.stack([self._values(picture) for picture in predictions])
        pixels = torch.stack([self.processor(raw)["pixels"] for raw in references])
        wanted = self.processor.plain(pixels).double()
        each: dict[str, Any] = {"data_range": 1.0, "reduction": "none"}
        psnr = peak_signal_noise_ratio(got, wanted, dim=(1, 2, 3), **each)
        ssim = structural_similarity_index_measure(got, wanted, **each)
        assert isinstance(ssim, Tensor)
        self.psnr += float(psnr.clamp(max=_MOST).sum())
        self.ssim += float(ssim.sum())
        self.count += len(predictions)

    def _values(self, picture: Any) -> Float[Tensor, "channels side side"]:
        """0 … 1 of a picture."""
        side, image = self.processor.image_size, decode(picture)
        if image.size != (side, side):
            wide, high = image.size
            raise PluginError(f"a picture of {wide} × {high} pixels cannot be compared with one of {side} × {side}")
        array = np.asarray(image.convert("L") if len(self.processor.mean) == 1 else image, dtype=np.float64) / 255
        return torch.from_numpy(array).reshape(side, side, -1).permute(2, 0, 1)

    def compute(self) -> dict[str, float]:
        """``psnr`` and ``ssim``."""
        return {"psnr": self.psnr / self.count, "ssim": self.ssim / self.count} if self.count else {}
