"""What takes longest: compilation, threads, memory."""

import gc
import os
from pathlib import Path

import torch

from mmkit.testing.check import MODULES, NotApplicable, check, require
from mmkit.testing.subject import EncoderSubject, Subject
from mmkit.testing.worker import compiled, elsewhere

_CALLS, _WARM, _GROWTH = 200, 50, 16 * 2**20


@check("gold", MODULES, "use no .item(), no .tolist() of device values and no Python branches on tensors in forward")
def compiles_whole(subject: Subject) -> None:
    """torch.compile takes forward without a graph break, and it gives the same."""
    # In the worker, since type checks of shapes, which tests switch on, are what dynamo cannot follow.
    text = elsewhere(compiled, subject.component, subject.case.name, subject.folder)
    require(not text, text)


@check("gold", MODULES, "leave the order of sums to torch's own kernels")
def threads_do_not_matter(subject: Subject) -> None:
    """One thread and four give the same, within rounding."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = subject.outputs().values
        torch.set_num_threads(4)
        four = subject.outputs().values
    finally:
        torch.set_num_threads(before)
    subject.close(four, one, "four threads beside one", times=10)


@check("gold", (*MODULES, "vocabulary", "continuous"), "keep no list, cache or graph that grows from call to call")
def memory_does_not_grow(subject: Subject) -> None:
    """Over 200 calls the process grows by less than 16 MiB."""
    if not Path("/proc/self/statm").is_file():
        raise NotApplicable("this system does not tell a process's memory cheaply")

    def call() -> None:
        if isinstance(subject, EncoderSubject):
            for raw in subject.raws:
                subject.prepare(raw)
        subject.outputs()

    for _ in range(_WARM):
        call()
    before = _resident()
    for _ in range(_CALLS - _WARM):
        call()
    grown = _resident() - before
    require(grown < _GROWTH, f"it grew by {grown / 2**20:.0f} MiB")


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
