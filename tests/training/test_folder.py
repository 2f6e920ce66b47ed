"""A folder is whole or absent, whatever dies while it is written or replaced."""

import json
import os
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mmkit.errors import CheckpointError
from mmkit.model.folder import read_json, read_manifest, recover, verify_sums, write_folder

FILES = {"a.txt": "A", "deep/b.txt": "B"}


def fill(letter: str, names: tuple[str, ...] = ("a.txt", "deep/b.txt")) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(letter * 100)

    return write


def content(folder: Path) -> str:
    """The letter all files of a whole folder have."""
    recover(folder)
    verify_sums(folder, read_manifest(folder, 1))
    letters = {(folder / name).read_text() for name in read_manifest(folder, 1)}
    assert len(letters) == 1
    return letters.pop()[0]


def dying_at(number: int, action: Callable[[], object]) -> bool:
    """Whether a child died by SIGKILL before its write number ``number``, half of the file to be synced lost."""
    child = os.fork()
    if child == 0:
        passed = 0

        def before(handle: object) -> None:
            nonlocal passed
            passed += 1
            if passed == number:
                if isinstance(handle, int) and os.path.isfile(path := os.readlink(f"/proc/self/fd/{handle}")):
                    os.truncate(path, os.path.getsize(path) // 2)
                os.kill(os.getpid(), signal.SIGKILL)

        for name in ("fsync", "rename", "replace", "unlink", "rmdir"):
            call = getattr(os, name)
            setattr(os, name, lambda *given, call=call, **more: (before(given[0]), call(*given, **more))[1])
        action()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_killed_at_every_write_of_a_new_folder_leaves_all_or_nothing(tmp_path: Path) -> None:
    for number in range(1, 1000):
        folder = tmp_path / f"f{number}"
        died = dying_at(number, lambda folder=folder: write_folder(folder, 1, fill("x")))
        assert not folder.exists() or content(folder) == "x"
        write_folder(folder, 1, fill("y"))
        assert content(folder) == "y"
        assert not list(tmp_path.glob(f".f{number}.*"))
        if not died:
            break
    assert number > 6


def test_killed_at_every_write_of_a_replacement_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    seen = set()
    for number in range(1, 1000):
        folder = tmp_path / f"f{number}"
        write_folder(folder, 1, fill("o", ("a.txt", "deep/b.txt", "gone.txt")))
        (folder / "mine.txt").write_text("kept")
        died = dying_at(number, lambda folder=folder: write_folder(folder, 1, fill("n")))
        seen.add(content(folder))
        assert (folder / "mine.txt").read_text() == "kept"
        write_folder(folder, 1, fill("z"))
        assert content(folder) == "z"
        assert sorted(os.listdir(folder)) == ["a.txt", "deep", "manifest.json", "mine.txt"]
        if not died:
            break
    assert number > 12
    assert seen == {"o", "n"}


def test_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", 1, fill("o"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))
        with pytest.raises(CheckpointError) as caught:
            write_folder(folder, 1, fill("n"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value) == (
        f"cannot write {folder}: File too large; what was saved before is untouched; "
        "free some space, or choose another folder"
    )
    assert content(folder) == "o"
    assert sorted(os.listdir(folder)) == ["a.txt", "deep", "manifest.json"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_full_file_system_keeps_what_was_there(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=False)
    if mounted.returncode:
        pytest.skip("no tmpfs here")
    try:
        folder = write_folder(tmp_path / "model", 1, fill("o"))

        def large(staged: Path) -> None:
            fill("n")(staged)
            (staged / "large").write_bytes(bytes(10**6))

        with pytest.raises(CheckpointError, match=r"cannot write .*model: No space left on device; what was saved"):
            write_folder(folder, 1, large)
        assert content(folder) == "o"
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_damaged_file_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", 1, fill("o"))
    (folder / "deep" / "b.txt").write_text("o" * 99 + "x")
    with pytest.raises(CheckpointError) as caught:
        content(folder)
    assert str(caught.value) == (
        f"{folder / 'deep' / 'b.txt'} is damaged: its SHA-256 is not that of the manifest; restore it from a copy"
    )


def test_manifest_that_names_files_elsewhere_is_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("precious")
    folder = write_folder(tmp_path / "model", 1, fill("o"))
    manifest = read_json(folder, "manifest.json")
    manifest["sha256"]["../victim.txt"] = "0"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError) as caught:
        write_folder(folder, 1, fill("n"))
    assert str(caught.value) == f"{folder / 'manifest.json'} names a file outside its folder: ../victim.txt"
    assert victim.read_text() == "precious"
