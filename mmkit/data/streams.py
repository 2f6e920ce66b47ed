"""A streamed source: shuffled within blocks, for ever or once, at a position that is small and exact."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from mmkit.data.seeds import generator
from mmkit.data.sources import Rows
from mmkit.errors import DataError

UNSHUFFLED_BLOCK = 1000


class Stream:
    """Blocks of ``shuffle_buffer`` rows, each in an order of its own; never more than one block in memory.

    The position is the ``datasets`` state from before the current block, and how far the block is used. In every pass
    but that of an ordered reading, the files (row groups of Parquet) come in another order too.

    Args:
        key: seeds of the order; None reads every row once, in order.
    """

    def __init__(self, rows: Rows, key: tuple[int, ...] | None) -> None:
        self.rows, self.key = rows, key
        self.size = UNSHUFFLED_BLOCK if key is None else rows.given.shuffle_buffer
        self.load({"epoch": 0, "row": 0, "at": 0, "before": None})

    def state(self) -> dict[str, Any]:
        """JSON-able."""
        return {"epoch": self.epoch, "row": self.row, "at": self.at, "before": self.before}

    def load(self, state: dict[str, Any]) -> None:
        """Go to a position that ``state`` gave."""
        self._start_pass(state["epoch"], state["before"])
        self.row, self.at = state["row"], 0
        if state["at"]:
            self._read()
            self.at = state["at"]

    def next(self) -> tuple[int, int, pa.Table, int] | None:
        """Pass, row number, and the table and place where the row is; None at the end of an ordered reading.

        Raises:
            DataError: the source has no rows, or cannot be read.
        """
        while self.at >= len(self.order):
            self.row += len(self.order)
            if self._read():
                continue
            if not self.row:
                raise DataError(f"{self.rows.name} has no rows")
            if self.key is None:
                return None
            self._start_pass(self.epoch + 1, None)
        place = int(self.order[self.at])
        self.at += 1
        return self.epoch, self.row + place, self.block, place

    def _start_pass(self, epoch: int, before: dict[str, Any] | None) -> None:
        self.epoch, self.row, self.at, self.before = epoch, 0, 0, before
        self.reader = self.rows.rows.with_format("arrow")
        if self.key is not None and self.rows.shards > 1:
            self.reader.set_epoch(1 + int(generator(*self.key, epoch).integers(2**31 - 2)))
        if before is not None:
            self.reader.load_state_dict(before)
        self.blocks: Iterator[pa.Table] = self.reader.iter(self.size)
        self.block: pa.Table = pa.table({})
        self.order = np.zeros(0, dtype=np.int64)
        self.started = False

    def _read(self) -> bool:
        """The next block of this pass."""
        before = self.reader.state_dict() if self.started else self.before
        limit = self.rows.given.limit
        left = None if limit is None else limit - self.row
        try:
            block = next(self.blocks, None) if left is None or left > 0 else None
        except Exception as error:
            detail = str(error).splitlines()[0] if str(error) else ""
            place = f"after row {self.row} of pass {self.epoch + 1}"
            raise DataError(f"cannot read {self.rows.name} {place}: {type(error).__name__}: {detail}") from None
        self.started = True
        self.at, self.order = 0, np.zeros(0, dtype=np.int64)
        if block is None or not len(block):
            return False
        self.before, self.block = before, block.slice(0, left)
        count = len(self.block)
        if self.key is None:
            self.order = np.arange(count)
        else:
            self.order = generator(*self.key, self.epoch, self.row, 1).permutation(count)
        return True
