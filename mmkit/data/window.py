"""The samples that wait between preparation and their batch, and what must be known of them to go on after a restart."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmkit.data.cutting import Sizes, sizes, split, truncate
from mmkit.data.draws import Draw
from mmkit.data.packing import Batching, choose, fitting
from mmkit.data.preparation import Failure, Prepared
from mmkit.errors import SampleError
from mmkit.model.batch import BadSample, Sample


@dataclass
class Record:
    """A chunk of draws between its preparation and the batch that takes its last sample.

    Attributes:
        start: state of the draws before the chunk. done: draws used up; pieces: of split samples, the pieces used up.
        left: entries that wait; None until the chunk is prepared.
    """

    start: dict[str, Any]
    draws: Sequence[Draw]
    done: list[int]
    pieces: dict[int, list[int]] = field(default_factory=dict)
    left: int | None = None


@dataclass(frozen=True)
class Entry:
    """A waiting sample, a piece of one, a bad row, one that was too long (None), or an error.

    ``fate`` is what was done to a long sample.
    """

    record: Record
    number: int
    address: str
    sample: Prepared | None
    tokens: int
    fate: str = ""
    piece: int = 0
    pieces: int = 1


class Window:
    """Waiting entries in the order of their draws.

    Args:
        skip: whether a row that cannot be used is counted instead of stopping the run.
    """

    def __init__(self, batching: Batching, autoregressive: Sequence[str], skip: bool) -> None:
        self.batching, self.autoregressive, self.skip = batching, autoregressive, skip
        self.by_tokens = batching.tokens_per_batch is not None
        self.budget = batching.tokens_per_batch or batching.batch_size or 1
        self.lookahead = batching.lookahead if self.by_tokens else 0
        self.records: deque[Record] = deque()
        self.entries: list[Entry] = []
        self.used_pieces: dict[int, list[int]] = {}

    def wants_more(self) -> bool:
        """Whether the next batch depends on samples that are not here yet."""
        if not self.by_tokens:
            return len(self.entries) < self.budget
        fits = fitting((entry.tokens for entry in self.entries), self.budget)
        return fits is None or len(self.entries) < fits + self.lookahead

    def add(self, record: Record, prepared: Sequence[Prepared]) -> None:
        """Let the samples of a prepared chunk wait."""
        found = [
            entry for draw, one in zip(record.draws, prepared, strict=True) for entry in self._of(record, draw, one)
        ]
        record.left = len(found)
        self.entries += found

    def take(self) -> list[Entry]:
        """The entries of the next batch, used up from now on.

        Raises:
            DataError, PluginError: one of them is an error, or longer than a batch may be. Nothing is used up then.
        """
        places = choose([entry.tokens for entry in self.entries], self.budget, self.lookahead)
        taken, gone = [self.entries[place] for place in places], set(places)
        for entry in taken:
            if isinstance(entry.sample, Failure):
                raise entry.sample.kind(str(entry.sample))
        self.entries = [entry for place, entry in enumerate(self.entries) if place not in gone]
        for entry in taken:
            record = entry.record
            assert record.left is not None
            record.left -= 1
            used = record.pieces.setdefault(entry.number, [])
            used.append(entry.piece)
            if len(used) == entry.pieces:
                record.done.append(entry.number)
                del record.pieces[entry.number]
        if self.by_tokens:
            while self.records and self.records[0].left == 0:
                self.records.popleft()
        return taken

    def forget(self, position: int, drawn: int) -> None:
        """Drop used-up chunks, but keep a start that no rank is past: a run of another number of ranks may go on there."""
        while self.records and self.records[0].left == 0:
            following = self.records[1].start["number"] if len(self.records) > 1 else drawn
            if following > position:
                return
            self.records.popleft()

    def state(self) -> dict[str, Any]:
        """Of the draws since the oldest that still waits: those used up, and the used pieces of split samples.

        With a fixed number of samples a batch they are used up in order, and the loader's position says it all.
        """
        if not self.by_tokens:
            return {"done": [], "pieces": {}}
        done = sorted(number for record in self.records for number in record.done)
        pieces = {str(number): list(used) for record in self.records for number, used in record.pieces.items()}
        return {"done": done, "pieces": pieces}

    def _of(self, record: Record, draw: Draw, prepared: Prepared) -> Iterator[Entry]:
        """A draw's entries: one, or the pieces of it that are not used up."""
        address = "" if isinstance(prepared, Failure) else prepared.address
        if not isinstance(prepared, Sample) or not self.by_tokens:
            yield Entry(record, draw.number, address, prepared, 1)
            return
        size = sizes(prepared, self.autoregressive)
        if size.total <= self.budget:
            yield Entry(record, draw.number, address, prepared, size.total)
            return
        samples, fate = self._shortened(prepared, size)
        used = self.used_pieces.pop(draw.number, [])
        if used:
            record.pieces[draw.number] = used
        for piece, sample in enumerate(samples):
            if piece not in used:
                tokens = sizes(sample, self.autoregressive).total if isinstance(sample, Sample) else 1
                yield Entry(record, draw.number, address, sample, tokens, fate, piece, len(samples))

    def _shortened(self, sample: Sample, size: Sizes) -> tuple[Sequence[Prepared | None], str]:
        """What becomes of a sample that is longer than a batch."""
        how = self.batching.long_samples
        if how == "drop":
            return [None], "dropped"
        try:
            if how == "truncate":
                return [truncate(sample, size, self.budget)], "truncated"
            if how == "split":
                return split(sample, size, self.budget), "split"
        except SampleError as error:
            if self.skip:
                return [BadSample(sample.address, str(error))], ""
            return [Failure(f"{sample.address}: {error}")], ""
        message = (
            f"{sample.address}: the sample has {size.total:,} tokens ({size.stream:,} of its input, {size.target:,} of "
            f"its target), more than tokens_per_batch = {self.budget:,}; raise tokens_per_batch, or set "
            "long_samples: drop, truncate or split"
        )
        return [Failure(message)], ""
