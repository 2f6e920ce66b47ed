"""Where a key's record is, at 16 bytes an entry: a Python dictionary would take more than ten times that."""

import numpy as np

RECENT = 2**16


class Index:
    """First 8 bytes of a key → a number. Later entries win. Two keys that share them are told apart by the caller,
    who then misses one of the two: with 10⁷ entries the odds of a single such pair are 1 in 400,000."""

    def __init__(self) -> None:
        self.heads = np.empty(0, np.uint64)
        self.places = np.empty(0, np.uint64)
        self.recent: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.heads) + len(self.recent)

    def add(self, heads: np.ndarray, first: int) -> None:
        """Entries numbered from ``first`` on."""
        places = np.arange(first, first + len(heads), dtype=np.uint64)
        if len(heads) + len(self.recent) <= RECENT:
            self.recent.update(zip(heads.tolist(), places.tolist(), strict=True))
            return
        recent = np.fromiter(self.recent, np.uint64, len(self.recent))
        numbers = np.fromiter(self.recent.values(), np.uint64, len(self.recent))
        joined = np.concatenate([self.heads, recent, heads])
        order = np.argsort(joined, kind="stable")
        self.heads, self.places = joined[order], np.concatenate([self.places, numbers, places])[order]
        self.recent = {}

    def find(self, head: int) -> int | None:
        """The number of the entry."""
        if head in self.recent:
            return self.recent[head]
        at = int(np.searchsorted(self.heads, np.uint64(head), side="right")) - 1
        return int(self.places[at]) if at >= 0 and self.heads[at] == head else None
