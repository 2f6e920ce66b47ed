"""SIGINT and SIGTERM while training: save at the end of the step, then leave with the signal's own code."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Notes the first signal; a second one acts as if nobody had been listening.

    Args:
        launched: whether a launcher started this process: from a terminal it passes on a signal that has come already,
            and it kills who takes too long; so no second one counts.
    """

    def __init__(self, launched: bool = False) -> None:
        self.launched = launched
        self.received: int | None = None
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self.before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            # when a process of a run ends, its launcher ends the others too: they have to say first why they stop
            ending = self.launched and isinstance(error, Exception)
            signal.signal(number, signal.SIG_IGN if ending else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number
        for other, handler in ({} if self.launched else self.before).items():
            signal.signal(other, handler)
        if hasattr(signal, "SIGCHLD"):  # the signal may have gone to data workers too: torch would raise where they die
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def leave(self) -> None:
        """Raise what the signal means.

        Raises:
            KeyboardInterrupt: SIGINT. SystemExit: SIGTERM, with code 143.
        """
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + (self.received or 0))
