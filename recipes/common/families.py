"""Groups of near-duplicates: things linked by a shared key or by similar text get one name, the key to split by."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence


class Families:
    """Union-find over any hashable things; a family's name is its smallest member (as text)."""

    def __init__(self) -> None:
        self._parent: dict[Hashable, Hashable] = {}

    def link(self, one: Hashable, other: Hashable) -> None:
        """Say that two things belong together."""
        first, second = self.root(one), self.root(other)
        if first != second:
            low, high = sorted((first, second), key=str)
            self._parent[high] = low

    def root(self, thing: Hashable) -> Hashable:
        """The family of ``thing``, itself if it was never linked."""
        path = []
        while (parent := self._parent.get(thing, thing)) != thing:
            path.append(thing)
            thing = parent
        for passed in path:
            self._parent[passed] = thing
        return thing


def by_shared_keys(items: Sequence[Iterable[Hashable]]) -> list[str]:
    """A family name an item: items that share any key, directly or through others, get the same."""
    families = Families()
    lists = [list(keys) for keys in items]
    for keys in lists:
        for key in keys[1:]:
            families.link(keys[0], key)
    return [str(families.root(keys[0])) for keys in lists]


def by_similarity(texts: Sequence[str], threshold: float = 85, min_words: int = 4) -> list[str]:
    """A family name a text: texts of at least ``min_words`` words whose normalised Levenshtein similarity reaches
    ``threshold`` (0…100) get the same. Every pair is compared, so for a few thousand texts at most."""
    from rapidfuzz import fuzz, process

    families = Families()
    long = [text for text in dict.fromkeys(texts) if len(text.split()) >= min_words]
    for start in range(0, len(long), 500):
        block = process.cdist(long[start : start + 500], long, scorer=fuzz.ratio, score_cutoff=threshold)
        for row, column in zip(*block.nonzero(), strict=True):
            families.link(long[start + int(row)], long[int(column)])
    return [str(families.root(text)) for text in texts]


def sizes(names: Iterable[str]) -> dict[str, int]:
    """How many items each family has."""
    counts: dict[str, int] = defaultdict(int)
    for name in names:
        counts[name] += 1
    return dict(counts)
