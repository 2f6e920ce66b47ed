"""Encoder: items of one modality → features."""

from abc import ABC, abstractmethod

from torch import nn

from mmkit.interfaces.processor import Batch, Processor
from mmkit.ragged import Ragged


class Encoder(nn.Module, ABC):
    """Encodes all items of one modality in a batch at once.

    Attributes:
        feature_dim: width of every feature row.
    """

    feature_dim: int

    @abstractmethod
    def processor(self) -> Processor:
        """The processor that prepares this encoder's items."""

    @abstractmethod
    def forward(self, batch: Batch) -> Ragged:
        """Features: ``values`` Float[Tensor, "total feature_dim"], one item of the Ragged per item of the batch."""
