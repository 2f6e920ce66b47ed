"""Which row comes when. Every draw has a number; the same seed gives the same draws, on any number of ranks and workers."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from mmkit.data.seeds import generator
from mmkit.data.sources import Rows
from mmkit.data.streams import Stream

_MIXED = 1024
"""Draws whose sources are chosen from one generator."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One row to prepare. ``number`` counts the draws of all ranks; ``epoch`` the passes over the row's source."""

    number: int
    source: int
    epoch: int
    row: int


@dataclass(frozen=True)
class Chunk:
    """A run of draws.

    Attributes:
        start: the state before the first of them.
        draws: those of this rank that are still to do, in order. done: those that are not.
        tables: per streamed source, its rows of ``draws``, in order.
    """

    start: dict[str, Any]
    draws: list[Draw]
    done: list[int] = field(default_factory=list)
    tables: dict[int, pa.Table] = field(default_factory=dict)


class Order(Protocol):
    """The rows of one source, one after another."""

    def state(self) -> dict[str, Any]:
        """JSON-able position."""

    def load(self, state: dict[str, Any]) -> None:
        """Go there."""

    def next(self) -> tuple[int, int, pa.Table | None, int] | None:
        """Pass, row, and for a streamed source where the row is; None at the end."""


class Indexed:
    """Every row of an indexed source once a pass: in order once (key None), or shuffled for ever."""

    def __init__(self, size: int, key: tuple[int, ...] | None) -> None:
        self.size, self.key, self.count = size, key, 0
        self.epoch, self.order = -1, np.zeros(0, dtype=np.uint32)

    def state(self) -> dict[str, Any]:
        """How many rows were drawn."""
        return {"count": self.count}

    def load(self, state: dict[str, Any]) -> None:
        """The order of a pass follows from its number."""
        self.count = state["count"]

    def next(self) -> tuple[int, int, None, int] | None:
        """See ``Order``."""
        epoch, place = divmod(self.count, self.size)
        if self.key is None:
            if epoch:
                return None
            row = place
        else:
            if epoch != self.epoch:
                kind = np.uint32 if self.size < 2**32 else np.int64
                self.epoch, self.order = epoch, generator(*self.key, epoch).permutation(self.size).astype(kind)
            row = int(self.order[place])
        self.count += 1
        return epoch, row, None, 0


class Draws:
    """The draws of a stage, or of an ordered reading.

    Args:
        seed: of the order; None reads every row of every source once, in order.
        total: stop after so many draws of all ranks; None: never (with a seed).
        rank, world: draw i is rank i % world's, so that the union of a step's samples does not depend on the world.
        chunk: draws of this rank that travel to a worker together.
    """

    def __init__(
        self,
        sources: Sequence[Rows],
        seed: int | None,
        *,
        stage: int = 0,
        total: int | None = None,
        rank: int = 0,
        world: int = 1,
        chunk: int = 16,
    ) -> None:
        self.seed, self.stage, self.total = seed, stage, total
        self.rank, self.world, self.chunk = rank, world, chunk
        self.number = 0
        weights = np.array([rows.given.weight for rows in sources], dtype=np.float64)
        self.weights = weights / weights.sum()
        self.choices: tuple[int, list[int]] = (-1, [])
        self.current = 0
        self.orders: list[Order] = []
        for index, rows in enumerate(sources):
            key = None if seed is None else (seed, stage, 2 + index)
            self.orders.append(Stream(rows, key) if rows.given.streaming else Indexed(len(rows), key))

    def state(self) -> dict[str, Any]:
        """JSON-able: how many draws there were, and where each source is."""
        return {"number": self.number, "current": self.current, "sources": [order.state() for order in self.orders]}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.number, self.current = state["number"], state["current"]
        for order, given in zip(self.orders, state["sources"], strict=True):
            order.load(given)

    def chunks(self, done: Container[int] = ()) -> Iterator[Chunk]:
        """This rank's draws, those in ``done`` only named."""
        while True:
            chunk = Chunk(self.state(), [])
            places: dict[int, list[tuple[pa.Table, int]]] = {}
            first = self.number
            for _ in range(self.chunk * self.world):
                drawn = self._next()
                if drawn is None:
                    break
                number, source, (epoch, row, table, place) = drawn
                if number % self.world != self.rank:
                    continue
                if number in done:
                    chunk.done.append(number)
                    continue
                chunk.draws.append(Draw(number, source, epoch, row))
                if table is not None:
                    places.setdefault(source, []).append((table, place))
            if self.number == first:
                return
            chunk.tables.update({source: _gathered(found) for source, found in places.items()})
            yield chunk

    def _next(self) -> tuple[int, int, tuple[int, int, pa.Table | None, int]] | None:
        if self.total is not None and self.number >= self.total:
            return None
        while True:
            source = self._source()
            if source is None:
                return None
            found = self.orders[source].next()
            if found is not None:
                self.number += 1
                return self.number - 1, source, found
            self.current += 1

    def _source(self) -> int | None:
        if self.seed is None:
            return self.current if self.current < len(self.orders) else None
        if len(self.orders) == 1:
            return 0
        block, place = divmod(self.number, _MIXED)
        if block != self.choices[0]:
            chosen = generator(self.seed, self.stage, 1, block).choice(len(self.weights), _MIXED, p=self.weights)
            self.choices = (block, chosen.tolist())
        return self.choices[1][place]


def _gathered(places: Sequence[tuple[pa.Table, int]]) -> pa.Table:
    """The rows at these places, as a table that holds nothing else."""
    groups: list[tuple[pa.Table, list[int]]] = []
    for table, place in places:
        if not groups or groups[-1][0] is not table:
            groups.append((table, []))
        groups[-1][1].append(place)
    return pa.concat_tables([table.take(indices) for table, indices in groups])
