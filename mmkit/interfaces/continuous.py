"""ContinuousAdapter: one modality ⇄ a sequence of vectors of a fixed number and width."""

from abc import ABC, abstractmethod
from typing import Any

from jaxtyping import Float
from torch import Tensor


class ContinuousAdapter(ABC):
    """A modality written as vectors: patches of a picture, frames of a spectrogram. Picklable, no weights.

    What a vocabulary is to a head that writes ids, this is to a head that writes real numbers. It may also be
    ``Fittable`` (scales that are measured on the user's data).

    Attributes:
        length: vectors of a value; the same for every value, shorter ones are filled up.
        dim: width of a vector.
        strings_are_paths: as of a ``Processor``: a string in a data column names a file.
    """

    strings_are_paths: bool = True
    length: int
    dim: int

    @abstractmethod
    def encode(self, raw: Any) -> Float[Tensor, "length dim"]:
        """The vectors of one raw value, float32, about -1 … 1: heads start from noise of that scale.

        Raises:
            SampleError: the value cannot be encoded.
        """

    @abstractmethod
    def decode(self, vectors: Float[Tensor, "length dim"]) -> Any:
        """The raw value of vectors. Any finite numbers can be decoded; those that no value has are taken as the nearest
        that one has."""
