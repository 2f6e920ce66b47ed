"""The checkpoints of a run, ``<output>/checkpoints``: the newest whole one, which ones go, and whose they are."""

import errno
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mmkit.errors import CheckpointError
from mmkit.model.checkpoint import FORMAT
from mmkit.model.folder import (
    cannot_write,
    dump_json,
    read_json,
    read_manifest,
    recover,
    sync,
    verify_sums,
    write_folder,
)
from mmkit.spec.schema import Spec

PROGRESS = "training.json"  # how far a checkpoint has come, and in which run
RUN = "run.json"  # the run whose checkpoints count, and whether it is complete
FREE = (
    *("train.output", "train.save_every", "train.keep", "train.log_every", "train.trackers", "train.probe"),
    "train.checkpoint_activations",
    *("train.eval_every", "train.eval_limit", "train.cache.size", "train.cache.folder"),
    *("data.workers", "data.valid", "data.test", "tune", "train.parallel"),
)  # what may change between a run and its resumption without changing a single loss


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint; ``progress`` is its ``training.json``."""

    folder: Path
    progress: dict[str, Any]

    @property
    def order(self) -> tuple[int, int]:
        """Stage and step."""
        return int(self.progress["stage"]), int(self.progress["step"])


class Checkpoints:
    """Writes, finds and removes.

    Args:
        output: folder of the model. keep: how many. say: told of every checkpoint that is passed over.
    """

    def __init__(self, output: Path, keep: int, say: Callable[[str], None]) -> None:
        self.output, self.folder, self.keep, self.say = output, output / "checkpoints", keep, say
        self.run = f"{time.time_ns():x}"

    def begin(self) -> None:
        """Start a run of its own: checkpoints that lie here already no longer count.

        Raises:
            CheckpointError: nothing can be written here.
        """
        self._require_writable()
        if self.folder.is_dir():
            self._say_what_is_left()
            self._mark()

    def _say_what_is_left(self) -> None:
        reached = sorted(path.name for path in self.folder.glob("stage*"))
        with suppress(CheckpointError):
            left = self._marked()
            if left is not None and not left.get("finished") and reached:
                self.say(
                    f"{self.folder} has an unfinished run, which had reached {reached[-1]}; this is a new one, and only it can be "
                    "resumed from now on (--resume goes on with an unfinished run instead)"
                )

    def resume(self, spec: Spec) -> Checkpoint | bool:
        """Take up the run that was started here last.

        Returns:
            its newest whole checkpoint; False when it left none; True when it is complete.

        Raises:
            CheckpointError: it was started with another spec, or nothing can be written here.
        """
        self._require_writable()
        marked = self._marked()
        if marked is None:
            return False
        self.run = str(marked["run"])
        if marked.get("finished"):
            recover(self.output)
            check_same(self.output, spec)
            return True
        newest = self.newest()
        if newest is not None:
            check_same(newest.folder, spec)
        return newest or False

    def finish(self, keep: bool = True) -> None:
        """The model is complete and saved.

        Args:
            keep: False removes every checkpoint: those of a private run hold what takes the noise away.
        """
        self._mark(finished=True)
        for path in () if keep else sorted(self.folder.glob("*stage*")):
            shutil.rmtree(path)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint of this run whose every file is as it was written; others are reported."""
        for path in sorted(self.folder.glob(".*.writing-*")):
            self.say(f"skipped {path}: it was never finished")
        for path in sorted(self.folder.glob("stage*"), reverse=True):
            try:
                verify_sums(path, read_manifest(path, FORMAT))
                progress = read_json(path, PROGRESS)
            except (CheckpointError, OSError) as error:
                self.say(f"skipped {path}: {error}")
                continue
            if progress.get("run") == self.run:
                return Checkpoint(path, progress)
        return None

    def path(self, stage: int, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self.folder / f"stage{stage:02d}-step{step:08d}"

    def write(self, stage: int, step: int, fill: Callable[[Path], None]) -> Path:
        """Write one; older ones go once it is durable.

        Raises:
            CheckpointError: it cannot be written; the earlier ones are untouched.
        """
        path = self.path(stage, step)
        if (self._marked() or {}).get("run") != self.run:
            self._mark()
        if path.exists():  # of another run, or damaged
            shutil.rmtree(path)
        write_folder(path, FORMAT, fill)
        self._purge()
        return path

    def _purge(self) -> None:
        kept = 0
        for path in sorted(self.folder.glob("stage*"), reverse=True):
            mine = self._is_mine(path)
            kept += mine
            if not mine or kept > self.keep:
                shutil.rmtree(path, ignore_errors=True)

    def _is_mine(self, path: Path) -> bool:
        try:
            return bool(read_json(path, PROGRESS).get("run") == self.run)
        except CheckpointError:  # damaged: of no use to any run
            return False

    def _require_writable(self) -> None:
        """Known before the training, not at its first checkpoint. Makes nothing: the spec may still be refused.

        Raises:
            CheckpointError: the folder is a file, or may not be written.
        """
        folder = self.output.resolve()
        there = next(path for path in (self.folder.resolve(), folder, *folder.parents) if path.exists())
        if not there.is_dir():
            error: OSError = NotADirectoryError(errno.ENOTDIR, f"{there} is a file")
        elif not os.access(there, os.W_OK | os.X_OK):
            error = PermissionError(errno.EACCES, f"no permission to write in {there}")
        else:
            return
        raise cannot_write(folder, error) from error

    def _marked(self) -> dict[str, Any] | None:
        return read_json(self.folder, RUN) if (self.folder / RUN).is_file() else None

    def _mark(self, finished: bool = False) -> None:
        temporary = self.folder / f".{RUN}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            dump_json(temporary, {"run": self.run, "finished": finished})
            sync(temporary)
            temporary.replace(self.folder / RUN)
            sync(self.folder)
        except OSError as error:
            raise cannot_write(self.folder, error) from error


def check_same(folder: Path, spec: Spec) -> None:
    """Refuse a checkpoint that other losses would follow than under this spec.

    Raises:
        CheckpointError: with everything that differs.
    """
    try:
        there = Spec.model_validate(read_json(folder, "spec.json")).model_dump(mode="json")
    except ValidationError as error:
        raise CheckpointError(f"{folder / 'spec.json'} is not a spec of this mmkit: {error}") from None
    found = differences(there, spec.model_dump(mode="json"), FREE)
    if found:
        shown = "\n  ".join(found[:20])
        raise CheckpointError(
            f"{folder} is of another spec:\n  {shown}\n"
            "fix: set these back, or train without resume, or into another folder (train.output)"
        )


def differences(there: Any, here: Any, free: Sequence[str]) -> list[str]:
    """What differs between two specs, one line a place, but for the places that are free to."""
    return [
        line
        for path, line in _differences(there, here)
        if not any(path == name or path.startswith((f"{name}.", f"{name}[")) for name in free)
    ]


def _differences(there: Any, here: Any, path: str = "") -> list[tuple[str, str]]:
    if isinstance(there, dict) and isinstance(here, dict):
        names = list(dict.fromkeys([*there, *here]))
        pairs = [(f"{path}.{name}" if path else name, there.get(name), here.get(name)) for name in names]
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        pairs = [(f"{path}[{i}]", a, b) for i, (a, b) in enumerate(zip(there, here, strict=True))]
    else:
        return [] if there == here else [(path, f"{path}: {_short(there)} there, {_short(here)} here")]
    return [found for name, a, b in pairs for found in _differences(a, b, name)]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
