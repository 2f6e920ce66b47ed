"""A signal in patches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmkit import Batch, BuildContext, Encoder, Item, Processor, Ragged, SampleError


class PatchProcessor(Processor):
    """A list of numbers, or a text file of numbers, as patches of zero mean and unit variance."""

    deterministic = True

    def __init__(self, patch: int, max_samples: int) -> None:
        self.patch, self.max_samples = patch, max_samples

    def __call__(self, raw: Any) -> Item:
        """``signal``: Float["patches patch"]."""
        signal = torch.tensor(self._numbers(raw))
        if not len(signal):
            raise SampleError("the signal is empty")
        if len(signal) > self.max_samples:
            raise SampleError(f"the signal has {len(signal):,} samples, at most {self.max_samples:,} are allowed")
        if not signal.isfinite().all():
            raise SampleError("the signal has a value that is not finite")
        signal = (signal - signal.mean()) / (signal.std(correction=0) + 1e-6)
        missing = -len(signal) % self.patch
        return {"signal": nn.functional.pad(signal, (0, missing)).view(-1, self.patch)}

    def _numbers(self, raw: Any) -> list[float]:
        if isinstance(raw, str | Path):
            try:
                raw = Path(raw).read_text("utf-8").split()
            except (OSError, UnicodeDecodeError) as error:
                raise SampleError(f"cannot read {raw}: {error}") from None
        if not isinstance(raw, list | tuple):
            raise SampleError(f"a signal is a list of numbers or a file of them, got {type(raw).__name__}")
        try:
            return [float(value) for value in raw]
        except (TypeError, ValueError) as error:
            raise SampleError(f"the signal has a value that is no number: {error}") from None

    def example(self) -> tuple[str, Any]:
        """What `mmkit check` counts tokens of."""
        return f"signal of {8 * self.patch} samples", [0.0] * (8 * self.patch)

    def num_features(self, item: Item) -> int:
        """One row a patch."""
        return item["signal"].shape[0]

    def collate(self, items: Sequence[Item]) -> Batch:
        """``signal``: Ragged of Float["patches patch"]."""
        return {"signal": Ragged.of([item["signal"] for item in items])}


class PatchEncoder(Encoder):
    """The same two layers for every patch."""

    def __init__(self, processor: PatchProcessor, dim: int) -> None:
        super().__init__()
        self.feature_dim = dim
        self._processor = processor
        self.layers = nn.Sequential(nn.Linear(processor.patch, dim), nn.GELU(), nn.Linear(dim, dim))

    def processor(self) -> PatchProcessor:
        """The processor of this encoder's items."""
        return self._processor

    def forward(self, batch: Batch) -> Ragged:
        """Float["patches dim"], one item a signal."""
        signal = batch["signal"]
        return signal.replace(self.layers(signal.values))


def build(context: BuildContext, *, patch: int, dim: int, max_samples: int, notes: Path | None) -> PatchEncoder:
    """Called with every field of the config as a keyword argument."""
    return PatchEncoder(PatchProcessor(patch, max_samples), dim)
