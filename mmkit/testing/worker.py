"""One process that was started anew, for what has to be true there."""

import atexit
import multiprocessing
import pickle
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from mmkit.registry.component import Component

_T = TypeVar("_T")


@lru_cache(maxsize=1)
def _pool() -> ProcessPoolExecutor:
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    atexit.register(pool.shutdown, cancel_futures=True)
    return pool


def elsewhere(function: Callable[..., _T], *arguments: Any) -> _T:
    """The result of a function of a module, computed in a process that shares nothing with this one."""
    try:
        data = pickle.dumps((function, arguments))
        return _pool().submit(_run, list(sys.path), data).result(timeout=300)
    except BaseException:
        renew()  # a process that died serves nobody else
        raise


def renew() -> None:
    """The next call gets a new process, which knows no module of the old one."""
    if _pool.cache_info().currsize:
        _pool().shutdown(wait=False, cancel_futures=True)
    _pool.cache_clear()


def _run(path: list[str], data: bytes) -> Any:
    """Unpickle and call, with the modules of the sender within reach."""
    sys.path[:] = path
    function, arguments = pickle.loads(data)
    return function(*arguments)


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


def vectors(adapter: Any, raws: Sequence[Any]) -> list[Any]:
    """What a continuous adapter makes of raw values, as NumPy arrays."""
    return [adapter.encode(raw).numpy() for raw in raws]


def compiled(component: Component, case: str, folder: Path) -> str:
    """Why a component's forward does not compile in one graph to the same output; empty if it does."""
    import torch

    from mmkit.testing.beside import SUBJECTS
    from mmkit.testing.case import cases_of
    from mmkit.testing.check import BrokenError

    chosen = next(one for one in cases_of(component) if one.name == case)
    subject = SUBJECTS[component.kind](component, chosen, folder)
    module, wanted = subject.built, subject.outputs()
    torch._dynamo.reset()
    call = torch.compile(lambda given: subject.call(module, given).values, backend="eager", fullgraph=True)
    try:
        with torch.no_grad():
            got = call(subject.arguments(subject.inputs))
        subject.close(got, wanted.values, "compiled beside plain", times=10)
    except (BrokenError, torch._dynamo.exc.TorchDynamoException) as fault:
        return f"{type(fault).__name__}: {fault}".split("\n\n")[0]
    return ""


def asked(folder: Path, rows: Sequence[Any]) -> list[Any]:
    """What a saved model answers."""
    import torch

    from mmkit.model.checkpoint import load
    from mmkit.testing.assembled import answers
    from mmkit.testing.bench import registry

    torch.set_num_threads(1)
    return answers(load(folder, registry=registry()), rows)
