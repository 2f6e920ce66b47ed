"""One lead of an electrocardiogram: prepared in a data worker, encoded by strided convolutions."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mmkit import Batch, BuildContext, Encoder, Item, Processor, Ragged, SampleError


class EcgProcessor(Processor):
    """A list of millivolts, or a text file of them, with zero mean and unit variance."""

    deterministic = True

    def __init__(self, rate: int, max_seconds: float, stride: int) -> None:
        self.rate, self.most, self.stride = rate, int(rate * max_seconds), stride

    def __call__(self, raw: Any) -> Item:
        """``ecg``: Float["samples"]."""
        try:
            values = Path(raw).read_text("utf-8").split() if isinstance(raw, str | Path) else raw
            numbers = np.array(values, dtype=np.float32)
        except (OSError, TypeError, ValueError) as error:
            raise SampleError(f"no numbers can be read: {error}") from None
        if numbers.ndim != 1 or not 0 < len(numbers) <= self.most:
            raise SampleError(f"wanted 1 to {self.most:,} numbers in one row, got the shape {list(numbers.shape)}")
        if not np.isfinite(numbers).all():
            raise SampleError("a value is not finite")
        return {"ecg": torch.from_numpy((numbers - numbers.mean()) / (numbers.std() + 1e-3))}

    def example(self) -> tuple[str, Any]:
        """What `mmkit check` counts tokens of."""
        return "ten seconds of one lead", [0.0] * min(self.most, 10 * self.rate)

    def num_features(self, item: Item) -> int:
        """One row for ``stride`` samples, rounded up."""
        return -(-len(item["ecg"]) // self.stride)

    def collate(self, items: Sequence[Item]) -> Batch:
        """``ecg``: Ragged of Float["samples"]."""
        return {"ecg": Ragged.of([item["ecg"] for item in items])}


class EcgEncoder(Encoder):
    """Each layer halves the rows; what lies behind the end of a recording stays zero, as if it were alone."""

    def __init__(self, processor: EcgProcessor, dim: int, layers: int) -> None:
        super().__init__()
        self.feature_dim, self._processor = dim, processor
        self.convolutions = nn.ModuleList(nn.Conv1d(a, b, 7, 2, 3) for a, b in pairwise([1, *[dim] * layers]))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(layers))

    def processor(self) -> EcgProcessor:
        """Of this encoder's recordings."""
        return self._processor

    def forward(self, batch: Batch) -> Ragged:
        """Float["rows dim"]."""
        signal = batch["ecg"]
        assert isinstance(signal, Ragged)
        padded, mask = signal.to_padded()
        rows, sizes = padded[..., None], signal.sizes
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            mask, sizes = mask[:, ::2], [-(-size // 2) for size in sizes]
            rows = nn.functional.gelu(norm(convolution(rows.mT).mT)) * mask[..., None]
        return Ragged.of([item[:size] for item, size in zip(rows, sizes, strict=True)])


def build(context: BuildContext, *, rate: int, max_seconds: float, dim: int, layers: int) -> EcgEncoder:
    """Fresh weights; called with every field of the config."""
    return EcgEncoder(EcgProcessor(rate, max_seconds, 2**layers), dim, layers)
