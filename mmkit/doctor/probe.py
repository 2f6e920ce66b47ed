"""Imports libraries in another process, and goes on after one that crashes it or never comes back."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from mmkit.doctor import child

PATIENCE = 10.0
"""Seconds that one library may take to be imported."""


def probe(steps: Sequence[str], patience: float = PATIENCE) -> Iterator[dict[str, Any]]:
    """What the child says of each step, in order; ``error`` where the step failed, crashed the child or took too long."""
    left = list(steps)
    while left:
        for answer in _attempt(tuple(left), patience):
            left.pop(0)
            yield answer


def _attempt(steps: Sequence[str], patience: float) -> Iterator[dict[str, Any]]:
    """Answers of one child, until it has done all or one step has ended it."""
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-P", child.__file__, *steps]  # by its path: it needs nothing of mmkit
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
        reader.start()
        for step in steps:
            try:
                line = lines.get(timeout=patience)
            except queue.Empty:
                process.kill()
                yield {"step": step, "error": f"it was not there after {patience:g} s"}
                return
            if not line:
                yield {"step": step, "error": f"it ends the process ({_ending(process.wait())})"}
                return
            yield json.loads(line)


def _read(process: "subprocess.Popen[str]", lines: "queue.SimpleQueue[str]") -> None:
    """Hand on every line, and an empty one at the end."""
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")


def _ending(code: int) -> str:
    """``signal SIGSEGV`` or ``exit code 3``."""
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"exit code {code}"
