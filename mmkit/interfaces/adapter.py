"""TokenizerAdapter: one modality ⇄ tokens of the stream; soft (vectors) or vocabulary (ids)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from torch import nn

from mmkit.ragged import Ragged


class SoftAdapter(nn.Module, ABC):
    """Features of an encoder → vectors of the stream.

    Attributes:
        out_dim: width of the tokens it gives.
    """

    out_dim: int

    @abstractmethod
    def num_tokens(self, num_features: int) -> int:
        """How many tokens an item of this many features becomes. Runs in a data worker, where there are no weights."""

    @abstractmethod
    def forward(self, features: Ragged) -> Ragged:
        """Float["total feature_dim"] → Float["total out_dim"], items kept."""


class VocabularyAdapter(ABC):
    """A modality written as ids. What can be encoded **and** decoded can be generated. Picklable, no weights.

    May also be ``Fittable`` (a tokenizer that is trained on the user's data).

    Attributes:
        size: number of ids, 0 … size-1, begin and end included.
        begin_id: starts a generated sequence.
        end_id: ends one.
        strings_are_paths: as of a ``Processor``; False for text.
    """

    strings_are_paths: bool = False
    size: int
    begin_id: int
    end_id: int

    @abstractmethod
    def encode(self, raw: Any) -> list[int]:
        """Ids of one raw value, without begin and end. Special-token text stays plain text.

        Raises:
            SampleError: the value cannot be encoded.
        """

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> Any:
        """The raw value of ids; begin and end ids are ignored."""


@runtime_checkable
class HasPieces(Protocol):
    """A vocabulary whose texts are what its ids spell, one after another. Answers of it can be held to a JSON Schema."""

    def pieces(self) -> Sequence[bytes | None]:
        """What each of the ids 0 … size-1 adds to a text, as UTF-8, which may be a part of a character; None of begin, end and
        others that add nothing. ``decode(ids)`` is the joined pieces of the ids, but for a space at the beginning.

        Called once, after it is fitted.

        Raises:
            PluginError: its texts are not made so.
        """
