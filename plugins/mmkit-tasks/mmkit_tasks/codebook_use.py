"""How many codes of a vocabulary are used, and how evenly."""

from collections import Counter
from collections.abc import Iterator, Sequence
from math import exp, log
from typing import Any

from mmkit import BuildContext, Codec, PluginError, SampleError, VocabularyAdapter


class CodebookUse:
    """``codes_used``: share of the codes that occur in the predictions; ``code_perplexity``: exp of the entropy of how often
    each does, 1 for a single code, the number of codes where all are used evenly. ``reference_…``: the same of references.

    Values are written in the vocabulary's codes; of several codebooks, the mean over them. A value that the vocabulary
    cannot encode, such as an empty sound, has no codes.
    """

    def __init__(self, vocabulary: VocabularyAdapter) -> None:
        self.vocabulary = vocabulary
        books = vocabulary.layout.codebooks if isinstance(vocabulary, Codec) else 1
        self.predicted = [Counter[int]() for _ in range(books)]
        self.referred = [Counter[int]() for _ in range(books)]

    @property
    def codes(self) -> int:
        """Of one codebook."""
        if isinstance(self.vocabulary, Codec):
            return self.vocabulary.layout.codes
        return self.vocabulary.size - len({self.vocabulary.begin_id, self.vocabulary.end_id})

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Add a batch; references may be missing."""
        for values, counts in ((predictions, self.predicted), (references, self.referred)):
            for value in values:
                for book, numbers in enumerate(self._numbers(value)):
                    counts[book].update(numbers)

    def _numbers(self, value: Any) -> list[list[int]]:
        """The codes of a value, by codebook."""
        try:
            if value is None:
                return []
            if isinstance(self.vocabulary, Codec):
                rows: list[list[int]] = self.vocabulary.quantize(value).T.tolist()
                return rows
            ends = (self.vocabulary.begin_id, self.vocabulary.end_id)
            return [[number for number in self.vocabulary.encode(value) if number not in ends]]
        except SampleError:
            return []

    def compute(self) -> dict[str, float]:
        """The figures; those of references only where there are some."""
        return dict([*self._figures("", self.predicted), *self._figures("reference_", self.referred)])

    def _figures(self, prefix: str, counts: Sequence[Counter[int]]) -> Iterator[tuple[str, float]]:
        if any(counts):
            yield f"{prefix}codes_used", sum(len(one) for one in counts) / len(counts) / self.codes
            yield f"{prefix}code_perplexity", sum(map(_perplexity, counts)) / len(counts)


def _perplexity(counts: Counter[int]) -> float:
    total = counts.total()
    return exp(-sum(count / total * log(count / total) for count in counts.values()))


def build(context: BuildContext) -> CodebookUse:
    """Over the vocabulary of the task's output."""
    if context.vocabulary is None:
        raise PluginError(
            "metric 'codebook-use': the task's output column is not of a vocabulary modality; see columns in the task"
        )
    return CodebookUse(context.vocabulary)
