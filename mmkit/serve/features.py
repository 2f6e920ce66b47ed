"""Features of pictures, sounds … that were seen before, kept in memory. What was used least recently makes room."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor

from mmkit.model.model import Model
from mmkit.ragged import Ragged
from mmkit.serve.meters import Meters


class FeatureMemory:
    """A ``FeatureCache`` of one encoder, and its own reader. A key is the SHA-256 of a content, so that no client gets features of
    anything but what it sent.

    Args:
        most: bytes.
    """

    def __init__(self, most: int, meters: Meters) -> None:
        self.most, self.meters, self.size = most, meters, 0
        self.kept: OrderedDict[bytes, Tensor] = OrderedDict()
        self.lock = threading.Lock()

    @property
    def reader(self) -> "FeatureMemory":
        """Itself: preparing threads look features up, the model's thread adds them."""
        return self

    def find(self, key: bytes) -> Tensor | None:
        """Float["features dim"] of a content."""
        with self.lock:
            found = self.kept.get(key)
            if found is not None:
                self.kept.move_to_end(key)
            return found

    def flush(self) -> None:
        """Nothing waits to be written."""

    def put(self, keys: Sequence[bytes], features: Ragged) -> None:
        """Remember copies, on the CPU."""
        for key, rows in zip(keys, features.split(), strict=True):
            own = rows.detach().to("cpu", copy=True)
            with self.lock:
                if key in self.kept or _bytes(own) > self.most:
                    continue
                self.kept[key] = own
                self.size += _bytes(own)
                while self.size > self.most:
                    self.size -= _bytes(self.kept.popitem(last=False)[1])

    def count(self, hits: int, misses: int) -> None:
        """For ``/metrics``."""
        self.meters.features.labels("yes").inc(hits)
        self.meters.features.labels("no").inc(misses)


def _bytes(rows: Tensor) -> int:
    return rows.numel() * rows.element_size()


def remember(model: Model, most: int, meters: Meters) -> None:
    """Give every encoder of media, whose items depend on their content alone, a memory; all together have ``most`` bytes."""
    names = [
        name
        for name, processor in model.processors().items()
        if processor.deterministic and processor.strings_are_paths
    ]
    for name in names:
        model.caches[name] = FeatureMemory(most // len(names), meters)
