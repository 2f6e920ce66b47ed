"""Runs in forked children that can be killed at any step or write boundary, and what they logged until then."""

import gc
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch  # before the forks, so that a child costs no import
import transformers  # noqa: F401

import mmkit
import mmkit.training.run
from mmkit.training.parallel.ranks import Ranks, join

# The first backward pass of a process decides whether autograd has threads, and with them no fork can train. Once a test has
# compiled something it would have them, so the first one is here.
torch.ones(1, requires_grad=True).sum().backward()
gc.freeze()  # a child's collections need not look at all of torch

WORDS = ["red", "blue", "green", "warm", "cold", "small", "large", "old", "new", "fine", "grey", "tall"]
ROWS = [
    {"text": f"a {a} {b} thing", "label": "warm" if len(a) > 3 else "cold", "out": f"{b} {a}"}
    for a in WORDS
    for b in WORDS[:5]
]


@dataclass
class Ran:
    """What a child did: exit status, losses and figures of evaluations by (stage, step), lines it said, boundaries it
    passed, its error and whether it leaves that to another rank to say."""

    status: int
    losses: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    boundaries: int = 0
    error: str = ""
    quiet: bool = False
    evals: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def spec(tmp_path: Path) -> dict[str, Any]:
    """Two tasks from two sources mixed by weight, dropout, accumulation, two stages."""
    path = write_rows(tmp_path / "rows.jsonl", ROWS)
    more = write_rows(tmp_path / "more.jsonl", ROWS[::2])
    return {
        "mmkit": 1,
        "modalities": {"text": {"adapter": {"use": "characters"}}},
        "backbone": {"use": "transformer", "dim": 16, "layers": 1, "heads": 2, "dropout": 0.1},
        "tasks": {
            "mood": {"input": "{text}", "output": "{label}", "head": {"use": "classify", "labels": ["cold", "warm"]}},
            "swap": {"input": "{text}", "output": "{out}", "head": {"use": "generate", "max_new_tokens": 8}},
        },
        "data": {"train": [{"task": "mood", "path": path, "weight": 2}, {"task": "swap", "path": more}]},
        "train": {
            "save_every": 2,
            "log_every": 1,
            "trackers": [],
            "stages": [
                {"name": "first", "steps": 4, "batch_size": 3, "accumulate": 2, "lr": 0.01},
                {"name": "second", "train": ["*.head", "backbone.encoder*"], "steps": 4, "batch_size": 4, "lr": 0.003},
            ],
        },
    }


def _intercept(log: int, kill_at: int, tear: bool) -> None:
    """Count every fsync and rename; before number ``kill_at`` die, with the file that was to be synced torn in two."""
    passed = 0

    def before(handle: Any) -> None:
        nonlocal passed
        passed += 1
        os.write(log, json.dumps({"boundary": passed}).encode() + b"\n")
        if passed == kill_at:
            if tear and isinstance(handle, int) and os.path.isfile(f"/proc/self/fd/{handle}"):
                path = os.readlink(f"/proc/self/fd/{handle}")
                os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    for name in ("fsync", "rename", "replace"):
        call = getattr(os, name)
        setattr(os, name, lambda *given, call=call, **more: (before(given[0]), call(*given, **more))[1])


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Ran]:
    """Train in a child.

    Options: ``kill``: (stage, step) after which it dies, or the number of a write boundary before which it dies;
    ``signal``: (stage, step, signal number) it sends to itself; ``tear``: lose half of the file being synced;
    ``before``: called in the child.
    """

    def start(spec: dict[str, Any], output: Path, **options: Any) -> Ran:
        path = tmp_path / "child.log"
        path.unlink(missing_ok=True)
        return _collect(fork(lambda: _child(spec, output, path, options)), path)

    return start


@pytest.fixture
def launch(tmp_path: Path) -> Callable[..., list[Ran]]:
    """Train in two children, as a launcher would start them. Options as those of ``run``; ``rank0``, ``rank1``: those of
    one of them alone."""

    def start(spec: dict[str, Any], output: Path, **options: Any) -> list[Ran]:
        paths, apart = [tmp_path / f"rank{rank}.log" for rank in range(2)], {}
        for rank, path in enumerate(paths):
            path.unlink(missing_ok=True)
            apart[rank] = {**options, **options.get(f"rank{rank}", {})}
        children = fork_ranks(lambda rank: _child(spec, output, paths[rank], apart[rank]))
        order = sorted(range(2), key=lambda rank: "kill" in apart[rank])  # the others see how that one ended
        ran = {rank: _collect(children[rank], paths[rank]) for rank in order}
        return [ran[rank] for rank in range(2)]

    return start


def fork(work: Callable[[], int]) -> int:
    """Do it in a child; its process."""
    child = os.fork()
    if child == 0:
        os._exit(work())
    return child


def fork_ranks(work: Callable[[int], int]) -> list[int]:
    """The same as two ranks that can meet."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]

    def ranked(rank: int) -> int:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        return work(rank)

    return [fork(partial(ranked, rank)) for rank in range(2)]


def _collect(child: int, path: Path) -> Ran:
    """Wait for a child and read its log."""
    _, status = os.waitpid(child, 0)
    ran = Ran(os.waitstatus_to_exitcode(status))
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        if "loss" in entry:
            ran.losses[entry["stage"], entry["at"]] = entry["loss"]
        elif "figures" in entry:
            ran.evals[entry["stage"], entry["at"]] = entry["figures"]
        elif "say" in entry:
            ran.said.append(entry["say"])
        elif "boundary" in entry:
            ran.boundaries = entry["boundary"]
        else:
            ran.error, ran.quiet = entry["error"], entry.get("quiet", False)
    return ran


def _child(spec: dict[str, Any], output: Path, path: Path, options: dict[str, Any]) -> int:
    log = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    note = lambda **entry: os.write(log, json.dumps(entry).encode() + b"\n")  # noqa: E731
    kill = options.get("kill")

    def step(stage: str, at: int, of: int, figures: dict[str, float]) -> None:
        if "loss" in figures:
            note(
                stage=stage, at=at, loss=[v for k, v in sorted(figures.items()) if k.startswith(("loss", "grad_norm"))]
            )
        if "eval_mood_loss" in figures:
            note(stage=stage, at=at, figures={k: v for k, v in figures.items() if k.startswith("eval_")})
        if not figures and kill == (stage, at):
            os.kill(os.getpid(), signal.SIGKILL)
        if not figures and "signal" in options and options["signal"][:2] == (stage, at):
            os.kill(os.getpid(), options["signal"][2])

    try:
        if "before" in options:
            options["before"]()
        _intercept(log, kill if isinstance(kill, int) else 0, options.get("tear", False))
        mmkit.train(spec, output=output, resume=options.get("resume", False), say=lambda x: note(say=x), step=step)
    except mmkit.MmkitError as error:
        note(error=f"{type(error).__name__}: {error}", quiet=error.quiet)
        return 2
    except KeyboardInterrupt:
        return 130
    except SystemExit as error:
        return int(error.code or 0)
    except BaseException:
        note(error=traceback.format_exc())
        sys.stderr.flush()
        return 3
    return 0


@pytest.fixture
def both(tmp_path: Path) -> Callable[[Callable[[Ranks], Any]], list[Any]]:
    """Do something on two ranks that have met; its JSON-able result on each."""

    def start(work: Callable[[Ranks], Any]) -> list[Any]:
        def ranked(rank: int) -> int:
            try:
                result = work(join())
            except BaseException:
                traceback.print_exc()
                return 1
            (tmp_path / f"result{rank}.json").write_text(json.dumps(result))
            return 0

        children = fork_ranks(ranked)
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
        return [json.loads((tmp_path / f"result{rank}.json").read_text()) for rank in range(2)]

    return start
