"""One rank stops: the others find out why, and one of them says so."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from mmkit.errors import MmkitError, TrainingError
from mmkit.training.parallel.ranks import Ranks

PATIENCE = 8.0
"""Seconds in which a rank's end is noticed by others on its machine: its data workers hold its connections for five."""


@contextmanager
def together(ranks: Ranks) -> Iterator[None]:
    """Leave a note when this rank fails; turn a lost connection into the reason for it. Of several ranks that fail with
    the same words, one is to say them (``MmkitError.quiet``).

    Raises:
        TrainingError: another rank is gone.
    """
    store = ranks.store
    if store is None:
        yield
        return
    place = {"process": os.getpid(), "host": socket.gethostname()}
    store.set(f"place{ranks.rank}", json.dumps(place))
    try:
        yield
    except Exception as error:
        shown: Exception = TrainingError(_reason(ranks, store, error)) if _is_connection(error) else error
        if isinstance(shown, MmkitError):
            shown.quiet = _said_by_another(store, str(shown))
        _note(ranks, store, f"stopped with {type(shown).__name__}: {shown}")
        _outlive(ranks, store)
        if shown is error:
            raise
        raise shown from error
    except BaseException as error:
        _note(ranks, store, f"was interrupted ({type(error).__name__})")
        raise


def _note(ranks: Ranks, store: dist.Store, what: str) -> None:
    with suppress(RuntimeError):
        store.set(f"end{ranks.rank}", what)


def _outlive(ranks: Ranks, store: dist.Store) -> None:
    """Where the first rank holds the notes, and not its launcher, let others that fail with it read them."""
    with suppress(RuntimeError):
        left, until = store.add("left", 1), time.monotonic() + 3
        if ranks.first and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
            while left < ranks.world and time.monotonic() < until:
                time.sleep(0.02)
                left = store.add("left", 0)


def _said_by_another(store: dist.Store, text: str) -> bool:
    """Whether a rank that failed earlier says the same."""
    try:
        if store.add("failed", 1) == 1:
            store.set("said", text)
            return False
        store.wait(["said"], timedelta(seconds=PATIENCE))
        return bool(store.get("said").decode() == text)
    except RuntimeError:  # the store went with the rank that held it
        return False


def _is_connection(error: Exception) -> bool:
    """Whether a collective failed because another rank is not there any more."""
    text = str(error)
    words = ("Connection closed by peer", "Connection reset", "Broken pipe", "Socket closed", "gloo", "NCCL")
    return isinstance(error, RuntimeError) and not isinstance(error, MmkitError) and any(word in text for word in words)


def _reason(ranks: Ranks, store: dist.Store, error: Exception) -> str:
    """Which rank ended, and how."""
    others = [rank for rank in range(ranks.world) if rank != ranks.rank]
    found, until = "", time.monotonic() + PATIENCE
    while not found and time.monotonic() < until:
        try:
            found = next(filter(None, (_end(store, rank) for rank in others)), "")
        except RuntimeError:
            found = "rank 0 is gone, and the notes of the others with it"
        time.sleep(0.02)
    if not found:
        found = f"the connection to another rank is lost ({str(error).splitlines()[0]})"
    return (
        f"{found}, so the others stop; what was saved before is untouched: the same command with --resume goes on from "
        "the newest checkpoint"
    )


def _end(store: dist.Store, rank: int) -> str:
    """How a rank ended; nothing where it runs, or cannot be seen from here."""
    if not store.check([f"place{rank}"]):
        return ""
    place = json.loads(store.get(f"place{rank}"))
    status = _status(place["process"]) if place["host"] == socket.gethostname() else None
    if store.check([f"end{rank}"]):
        return f"rank {rank} {store.get(f'end{rank}').decode()}"
    who = f"rank {rank} (process {place['process']})"
    if status == 0:
        return f"{who} is gone without a word, as after kill -9 or when memory runs out"
    if status:
        name = signal.Signals(status).name if status in set(signal.Signals) else f"signal {status}"
        return f"{who} was killed by {name}"
    return ""


def _status(process: int) -> int | None:
    """None: it runs; 0: it is gone; else the signal that ended it, which is known until its parent has asked."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return 0
    except OSError:
        return None
    with suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        if fields[0] in "ZX":
            return int(fields[49]) & 0x7F  # field 52 of proc_pid_stat(5): the status that waitpid gives
    return None
