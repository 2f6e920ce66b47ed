"""What torch's profiler recorded → time and memory by region. A backward pass has no regions: its operations are told
apart by the sequence numbers of the forward operations that they belong to."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch.profiler import DeviceType

from mmkit.profiling.regions import BACKWARD, DATA, OPTIMIZER, STREAM

ENGINE = "autograd::engine::evaluate_function: "


@dataclass
class Owners:
    """Which region made the node of the autograd graph with a sequence number: numbers only grow, so that of the last
    forward operation up to it."""

    marks: list[tuple[int, float, str]]
    numbers: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.marks.sort()
        self.numbers = [number for number, _, _ in self.marks]

    def __call__(self, number: int, before: str) -> str:
        """The region; ``before``, that of the operation before, where it has no number: gradients are added up then."""
        at = bisect_right(self.numbers, number)
        return self.marks[at - 1][2] if number >= 0 and at else before


@dataclass
class Account:
    """Microseconds and bytes by region, each without the regions inside of it.

    Attributes:
        kept: bytes that were allocated in a region and still held at its end. passes: forward passes of the model.
    """

    forward: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    backward: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    kept: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    passes: int = 0
    owners: Owners = field(default_factory=lambda: Owners([]))


def account(events: Iterable[Any], names: Collection[str], cuda: bool) -> Account:
    """Sum up.

    Args:
        events: of ``torch.profiler.profile.events()``. names: of the regions.
        cuda: count the time of the GPU's kernels instead of the CPU's that starts them.
    """
    found, marks, engine = Account(), list[tuple[int, float, str]](), list[Any]()
    for event in events:
        if event.device_type != DeviceType.CPU or event.is_async:
            continue
        name = _region(event, names)
        outer = _outer(event, names)
        if name is not None:
            time, memory = _time(event, cuda and name != DATA), _memory(event, cuda)
            found.passes += name == STREAM
            found.forward[name] += time
            found.kept[name] += memory
            if outer is not None:
                found.forward[outer] -= time
                found.kept[outer] -= memory
        elif event.name.startswith(ENGINE):
            if not _inside(event, ENGINE):
                engine.append(event)
        elif event.sequence_nr >= 0 and outer not in (None, BACKWARD) and not _inside(event, ENGINE):
            marks.append((event.sequence_nr, event.time_range.start, str(outer)))
    found.owners = Owners(marks)
    last: dict[int, str] = {}
    for event in sorted(engine, key=lambda event: event.time_range.start):
        name = last[event.thread] = found.owners(event.sequence_nr, last.get(event.thread, BACKWARD))
        found.backward[name] += _time(event, cuda)
    found.forward.pop(BACKWARD, None)  # its operations are counted one by one
    return found


def _region(event: Any, names: Collection[str]) -> str | None:
    if event.name.startswith(("Optimizer.step#", "Optimizer.zero_grad#")):  # torch names them itself
        return OPTIMIZER
    return event.name if event.name in names else None


def _outer(event: Any, names: Collection[str]) -> str | None:
    """The innermost region around an event."""
    around = event.cpu_parent
    while around is not None:
        name = _region(around, names)
        if name is not None:
            return name
        around = around.cpu_parent
    return None


def _inside(event: Any, start: str) -> bool:
    around = event.cpu_parent
    while around is not None and not around.name.startswith(start):
        around = around.cpu_parent
    return around is not None


def _time(event: Any, cuda: bool) -> float:
    return float(event.device_time_total if cuda else event.time_range.elapsed_us())


def _memory(event: Any, cuda: bool) -> float:
    return float(event.device_memory_usage if cuda else event.cpu_memory_usage)
