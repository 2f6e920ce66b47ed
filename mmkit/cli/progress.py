"""Progress on stderr: a pulse until something can be counted, then a bar. Nothing moves where no terminal looks on."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from mmkit.cli.output import NO_LIMIT


class _Count(MofNCompleteColumn):
    """``3/10``, and nothing while the total is not known."""

    def render(self, task: Task) -> Text:
        """One cell."""
        return Text("") if task.total is None else super().render(task)


class Bars:
    """The bars of one command, by name."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}
        self.waiting: TaskID | None = None

    def wait(self, what: str) -> None:
        """Show that something is going on until the next call of anything here but ``say``."""
        self._done_waiting()
        self.waiting = self.progress.add_task(what, total=None)

    def step(self, name: str, done: int, total: int | None, more: str = "") -> None:
        """Move a bar; it comes with its first call."""
        self._done_waiting()
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, total=total)
        self.progress.update(self.tasks[name], completed=done, total=total, description=f"{name} {more}".rstrip())

    def say(self, line: str) -> None:
        """A line above the bars; on stderr also where no terminal looks on."""
        self.progress.console.print(line, soft_wrap=True)

    def _done_waiting(self) -> None:
        if self.waiting is not None:
            self.progress.remove_task(self.waiting)
            self.waiting = None


@contextmanager
def bars(wanted: bool = True) -> Iterator[Bars]:
    """Bars while the block runs; not ``wanted`` where it prints its results to the same terminal."""
    wide = None if sys.stderr.isatty() or "COLUMNS" in os.environ else NO_LIMIT
    err = Console(stderr=True, width=wide, highlight=False, markup=False, emoji=False)
    columns = (TextColumn("{task.description}"), BarColumn(24), _Count(), TimeRemainingColumn(compact=True))
    off = not (wanted and err.is_terminal)
    with Progress(*columns, console=err, disable=off, redirect_stdout=False) as progress:
        yield Bars(progress)


def stepper(shown: Bars, what: str = "") -> Callable[[str, int, int], None]:
    """A callback ``(name, done, total)`` for library functions."""
    return lambda name, done, total: shown.step(f"{what} {name}".strip(), done, total)
