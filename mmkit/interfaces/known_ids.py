"""What a codec remembers: the ids of values that it has written already, as many as have room."""

import os
from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

ROOM = 64_000_000
"""Ids that a process keeps of one codec, 4 bytes each."""
ENTRY = 64
"""What an entry takes beside its ids, in ids."""


class KnownIds:
    """Values by what tells them from others, and their ids. Those that were asked for longest ago make room for new ones.

    Threads may share it. A forked process goes on with what its parent knew.
    """

    def __init__(self) -> None:
        self._ids: OrderedDict[Hashable, array[int]] = OrderedDict()
        self._taken, self._lock, self._process = 0, Lock(), os.getpid()

    def __len__(self) -> int:
        return len(self._ids)

    def get(self, key: Hashable, make: Callable[[], list[int]]) -> list[int]:
        """The ids of a value, made where they are not known."""
        if self._process != os.getpid():  # another thread of the parent may have held it
            self._lock, self._process = Lock(), os.getpid()
        with self._lock:
            found = self._ids.get(key)
            if found is not None:
                self._ids.move_to_end(key)
        if found is not None:
            return found.tolist()
        ids = make()
        with self._lock:
            self._taken += len(ids) + ENTRY - self._size(self._ids.pop(key, None))
            self._ids[key] = array("I", ids)
            while self._taken > ROOM and self._ids:
                self._taken -= self._size(self._ids.popitem(last=False)[1])
        return ids

    @staticmethod
    def _size(ids: "array[int] | None") -> int:
        return len(ids) + ENTRY if ids is not None else 0


_OF: "WeakKeyDictionary[Any, KnownIds]" = WeakKeyDictionary()


def known_ids(codec: Any) -> KnownIds:
    """What is known of this codec, for as long as there is one."""
    return _OF.setdefault(codec, KnownIds())
