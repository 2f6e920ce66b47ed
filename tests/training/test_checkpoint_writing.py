"""Writing a checkpoint: older ones go once it is durable, and what cannot be written is said before the training."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import mmkit
from mmkit.errors import CheckpointError
from mmkit.model.folder import dump_json
from mmkit.training.checkpoints import PROGRESS, Checkpoints


def quiet(line: str) -> None:
    pass


def fill(checkpoints: Checkpoints, step: int) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "weights").write_bytes(bytes(1000))
        dump_json(folder / PROGRESS, {"run": checkpoints.run, "stage": 0, "step": step})

    return write


def newest(output: Path) -> int | None:
    """The step that a resumption would find."""
    reader = Checkpoints(output, 1, quiet)
    reader.run = str((reader._marked() or {}).get("run"))
    found = reader.newest()
    return None if found is None else found.order[1]


@contextmanager
def watched(output: Path) -> Iterator[list[tuple[str, str, int | None]]]:
    """Before every change of a file: what is done, to what, and the step that a resumption would find."""
    calls = {name: getattr(os, name) for name in ("fsync", "rename", "replace", "unlink", "rmdir")}
    seen: list[tuple[str, str, int | None]] = []

    def watch(name: str) -> Callable[..., Any]:
        def call(what: Any, *given: Any, **more: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{what}") if isinstance(what, int) else os.fspath(what)
            seen.append((name, path, newest(output)))
            return calls[name](what, *given, **more)

        return call

    try:
        for name in calls:
            setattr(os, name, watch(name))
        yield seen
    finally:
        for name, call in calls.items():
            setattr(os, name, call)


def test_the_newest_moves_and_older_ones_go_only_once_the_new_one_is_durable(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 1, quiet)
    checkpoints.begin()
    checkpoints.write(0, 1, fill(checkpoints, 1))
    with watched(tmp_path) as seen:
        checkpoints.write(0, 2, fill(checkpoints, 2))
    steps = [step for _, _, step in seen]
    assert None not in steps
    assert steps == sorted(steps)
    assert set(steps) == {1, 2}
    doings = [(name, path) for name, path, _ in seen]
    renamed = next(place for place, (name, _) in enumerate(doings) if name == "rename")
    durable = doings.index(("fsync", str(tmp_path / "checkpoints")), renamed)
    removed = next(place for place, (name, _) in enumerate(doings) if name in ("unlink", "rmdir"))
    assert renamed < durable < removed
    assert [path.name for path in (tmp_path / "checkpoints").glob("*stage*")] == ["stage00-step00000002"]


@pytest.mark.parametrize("rot", ["", "[]", '{"run": ', "missing"])
def test_an_older_checkpoint_that_rots_stops_no_later_save(tmp_path: Path, rot: str) -> None:
    checkpoints = Checkpoints(tmp_path, 3, quiet)
    checkpoints.begin()
    for step in (1, 2):
        checkpoints.write(0, step, fill(checkpoints, step))
    rotten = checkpoints.path(0, 1) / PROGRESS
    rotten.unlink() if rot == "missing" else rotten.write_text(rot)
    checkpoints.write(0, 3, fill(checkpoints, 3))
    assert sorted(path.name[-1] for path in (tmp_path / "checkpoints").glob("stage*")) == ["2", "3"]


def test_full_disk_at_the_mark_of_a_run_is_said_like_any_other(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 1, quiet)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5, limits[1]))
        with pytest.raises(CheckpointError) as caught:
            checkpoints.write(0, 1, fill(checkpoints, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'checkpoints'}: File too large; what was saved before is untouched; "
        "free some space, or choose another folder"
    )
    assert isinstance(caught.value.__cause__, OSError)  # the command line exits with 1: a run failed


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_cannot_be_written_is_named_before_the_training(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: bool
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(mmkit.training.run, "build", None)  # nothing is built
    with pytest.raises(CheckpointError) as caught:
        mmkit.train(spec, output=tmp_path / "file" / "model", resume=resume, say=quiet)
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'file' / 'model'}: {tmp_path / 'file'} is a file; what was saved before is "
        "untouched; free some space, or choose another folder"
    )
    (tmp_path / "locked").mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: access(path, mode) and path != tmp_path / "locked")
    with pytest.raises(CheckpointError) as caught:
        mmkit.train(spec, output=tmp_path / "locked" / "model", resume=resume, say=quiet)
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'locked' / 'model'}: no permission to write in {tmp_path / 'locked'}; what was "
        "saved before is untouched; free some space, or choose another folder"
    )
    assert not list((tmp_path / "locked").iterdir())
