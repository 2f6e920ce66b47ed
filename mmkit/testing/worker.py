"""One process that was started anew, for what has to be true there."""

import atexit
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

_T = TypeVar("_T")


@lru_cache(maxsize=1)
def _pool() -> ProcessPoolExecutor:
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    atexit.register(pool.shutdown, cancel_futures=True)
    return pool


def elsewhere(function: Callable[..., _T], *arguments: Any) -> _T:
    """The result of a function of a module, computed in a process that shares nothing with this one."""
    try:
        return _pool().submit(function, *arguments).result(timeout=300)
    except BaseException:
        _pool.cache_clear()  # a process that died serves nobody else
        raise


def prepared(processor: Any, raws: Sequence[Any]) -> list[dict[str, Any]]:
    """Items as NumPy arrays, which travel without shared memory."""
    from mmkit.testing.subject import seeded

    items = []
    for raw in raws:
        with seeded(1):
            items.append({name: value.numpy() for name, value in processor(raw).items()})
    return items


def ids(vocabulary: Any, raws: Sequence[Any]) -> list[list[int]]:
    """What a vocabulary makes of raw values."""
    return [list(vocabulary.encode(raw)) for raw in raws]


def asked(folder: Path, rows: Sequence[Any]) -> list[Any]:
    """What a saved model answers."""
    import torch

    from mmkit.model.checkpoint import load
    from mmkit.testing.assembled import answers
    from mmkit.testing.bench import registry

    torch.set_num_threads(1)
    return answers(load(folder, registry=registry()), rows)
