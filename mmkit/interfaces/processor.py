"""Processor: one raw value → one item of tensors, on the CPU, in a data worker."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from torch import Tensor

from mmkit.ragged import Ragged

Item: TypeAlias = Mapping[str, Tensor]
"""One prepared raw value: named tensors on the CPU."""
Batch: TypeAlias = Mapping[str, Tensor | Ragged]
"""All items of one modality in a batch: named tensors or Ragged. They are moved to the model's device, except entries whose
key ends in ``lengths``, which stay on the CPU."""


class Processor(ABC):
    """A plain picklable object without weights that prepares items for one encoder.

    Attributes:
        strings_are_paths: a string in a data column names a file; the core then keeps it inside the data root.
            False for text.
        deterministic: the item is a function of the raw value's content alone (for a path: of the file's bytes), and
            of nothing random. Features of a frozen encoder are then kept and used again without preparing the value;
            False, the default, always prepares and encodes anew.
    """

    strings_are_paths: bool = True
    deterministic: bool = False

    @abstractmethod
    def __call__(self, raw: Any) -> Item:
        """Decode and normalise one raw value (path, bytes, array …).

        What is random is drawn from the global generators of torch (CPU), NumPy or Python: the loader seeds them for
        each sample, so that it gets the same item in any worker and after a restart.

        Raises:
            SampleError: the value is missing, corrupt, empty, too large, or of the wrong type.
        """

    @abstractmethod
    def num_features(self, item: Item) -> int:
        """How many feature rows the encoder will return for this item. A contract: a mismatch is an error."""

    @abstractmethod
    def collate(self, items: Sequence[Item]) -> Batch:
        """Join at least one item into the batch that ``Encoder.forward`` takes."""


@runtime_checkable
class Fittable(Protocol):
    """A component that learns something from raw data before the model is built (a BPE vocabulary, …)."""

    @property
    def fitted(self) -> bool:
        """Whether the component can be used."""

    def fit(self, raws: Iterable[Any]) -> None:
        """Learn from raw values of the training data."""


@runtime_checkable
class HasAssets(Protocol):
    """A component that needs files beside its weights to be built again (tokenizer, architecture config)."""

    def save_assets(self, folder: Path) -> None:
        """Write them into an existing empty folder, without pickle; ``BuildContext.assets`` gives the folder back."""


@runtime_checkable
class HasExample(Protocol):
    """A processor, vocabulary or continuous adapter that can show a typical raw value, so that ``mmkit check`` can count tokens and FLOPs."""

    def example(self) -> tuple[str, Any]:
        """What it is in a few words with its size (``"second of sound"``), and a raw value. Cheap; reads no file.

        Never called before the component is fitted.
        """
