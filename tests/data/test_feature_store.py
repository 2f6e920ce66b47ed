"""Segments on disk: many writers, crashes, rot, the size limit."""

import hashlib
import json
import multiprocessing
import os
import pickle
import random
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from mmkit.data.cache import folder as cache_folder
from mmkit.data.cache import index as cache_index
from mmkit.data.cache.folder import RECORD, encoders, in_use, make_room
from mmkit.data.cache.index import Index
from mmkit.data.cache.store import EncoderCache, Reader
from mmkit.ragged import Ragged

FORK = multiprocessing.get_context("fork")
GIGA = 10**9


def info(**facts: Any) -> dict[str, Any]:
    known = {"component": "image/cnn", "version": "1", **facts}
    return {"node": "image.encoder", "options": {"image_size": 32}, "facts": known}


def opened(root: Path, limit: int = GIGA, said: list[str] | None = None, **facts: Any) -> EncoderCache:
    return EncoderCache(root, info(**facts), limit, [].append if said is None else said.append)


def key(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def rows(number: int) -> torch.Tensor:
    """1 to 3 rows that tell which number they belong to."""
    return torch.full((1 + number % 3, 4), float(number)) + torch.arange(4) / 8


def add(cache: EncoderCache, numbers: list[int]) -> None:
    cache.put([key(n) for n in numbers], Ragged.of([rows(n) for n in numbers]))
    cache.flush()


def found(cache: EncoderCache | Reader, number: int) -> bool:
    """Whether it is there; what is there must be right."""
    reader = cache if isinstance(cache, Reader) else cache.reader
    stored = reader.find(key(number))
    assert stored is None or torch.equal(stored, rows(number))
    return stored is not None


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_features_come_back_bit_for_bit_in_their_type(tmp_path: Path, kind: torch.dtype) -> None:
    cache, values = opened(tmp_path), torch.randn(5, 7).to(kind)
    cache.put([key(0), key(1), key(2)], Ragged(values, torch.tensor([2, 0, 3])))
    cache.close()
    reader = Reader(cache.folder)
    for number, expected in enumerate(values.split([2, 0, 3])):
        stored = reader.find(key(number))
        assert stored is not None
        assert stored.dtype == kind
        assert torch.equal(stored, expected)
    assert reader.find(key(3)) is None


def test_writing_into_found_features_changes_no_file(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    add(cache, [1])
    stored = cache.reader.find(key(1))
    assert stored is not None
    stored.zero_()
    assert found(Reader(cache.folder), 1)


def test_reader_sees_what_was_added_after_it_was_opened_and_after_pickling(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    reader = Reader(cache.folder)
    assert not found(reader, 1)
    add(cache, [1, 2])
    assert found(reader, 1)
    add(cache, [3])
    again = pickle.loads(pickle.dumps(reader))
    assert all(found(again, n) for n in (1, 2, 3))


def test_index_keeps_what_it_was_given_once_it_is_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_index, "RECENT", 8)
    index, expected = Index(), {}
    for first in range(0, 100, 5):
        heads = [hash((first + i) // 3 * 7919) % 2**64 for i in range(5)]  # thirds come again: later entries win
        index.add(torch.tensor(heads, dtype=torch.uint64).numpy(), first)
        expected.update({head: first + i for i, head in enumerate(heads)})
    assert {head: index.find(head) for head in expected} == expected
    assert index.find(12345) is None


def _write_for_ever(root: Path, first: int, pipe: Connection) -> None:
    cache = opened(root)
    for number in range(first, first + 100_000, 3):
        add(cache, [number, number + 1, number + 2])
        pipe.send(number + 2)


def test_kill_9_at_any_moment_loses_nothing_that_was_written(tmp_path: Path) -> None:
    chance, known, first = random.Random(0), [], 0
    for _ in range(12):
        ours, theirs = FORK.Pipe()
        writer = FORK.Process(target=_write_for_ever, args=(tmp_path, first, theirs))
        writer.start()
        ours.recv()
        time.sleep(chance.random() * 0.02)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        theirs.close()
        last = first + 2
        try:
            while ours.poll():
                last = ours.recv()
        except EOFError:
            pass
        known += range(first, last + 1)
        cache = opened(tmp_path)
        assert all(found(cache, n) for n in known)
        add(cache, [last + 1000])
        known.append(last + 1000)
        cache.close()
        first = last + 2000
    assert not in_use(cache.folder)
    assert list(cache.folder.glob("*.lock")) == []


def test_torn_tails_of_index_and_data_are_ignored(tmp_path: Path) -> None:
    whole = opened(tmp_path / "whole")
    add(whole, [0, 1])
    whole.close()
    (index,) = whole.folder.glob("*.index")
    records, data = index.read_bytes(), index.with_suffix(".data").read_bytes()
    for cut in range(len(records) + 1):
        index.write_bytes(records[:cut])
        reader = Reader(whole.folder)
        assert [found(reader, n) for n in (0, 1)] == [cut >= RECORD, cut >= 2 * RECORD]
    for cut in (0, 1, 15, 16, 63, 64, 80, 95, 96, len(data)):
        index.with_suffix(".data").write_bytes(data[:cut])
        reader = Reader(whole.folder)
        assert [found(reader, n) for n in (0, 1)] == [cut >= 16, cut >= 96]


def _write_some(root: Path, numbers: list[int]) -> None:
    cache = opened(root)
    for number in numbers:
        add(cache, [number])
    cache.close()


def test_two_processes_write_at_once_while_a_third_reads(tmp_path: Path) -> None:
    reader_of = opened(tmp_path)
    parts = (list(range(0, 300)), list(range(200, 500)))
    writers = [FORK.Process(target=_write_some, args=(tmp_path, part)) for part in parts]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        for number in range(0, 500, 7):
            found(reader_of, number)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert all(found(reader_of, n) for n in range(500))
    assert len(list(reader_of.folder.glob("*.index"))) == 2


def test_rot_is_named_ignored_and_mended(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    add(cache, [1, 2])
    cache.close()
    (index,) = cache.folder.glob("*.index")
    raw = bytearray(index.with_suffix(".data").read_bytes())
    raw[3] ^= 1
    index.with_suffix(".data").write_bytes(raw)
    said: list[str] = []
    again = opened(tmp_path, said=said)
    assert [found(again, n) for n in (1, 2)] == [False, True]
    add(again, [1])
    assert found(again, 1)
    assert said == [
        f"feature cache: image.encoder: {index} is damaged (a checksum differs): its damaged entries are ignored and "
        f"computed again; `mmkit cache clear {cache.folder.name}` removes them"
    ]
    again.close()
    assert found(Reader(cache.folder), 1)


def test_full_cache_adds_nothing_more_says_so_and_goes_on_reading(tmp_path: Path) -> None:
    said: list[str] = []
    cache = opened(tmp_path, limit=4000, said=said)
    for number in range(40):
        add(cache, [number])
    kept = [found(cache, n) for n in range(40)]
    assert kept[0]
    assert not kept[-1]
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert 3000 < size <= 4000
    assert said == [
        f"feature cache: image.encoder: nothing more is added: train.cache.size is 4.0KB, and {size / 1000:.1f}KB are in "
        "use; `mmkit cache` shows what is kept"
    ]


def test_least_recently_used_encoders_make_room_oldest_segments_first(tmp_path: Path) -> None:
    for age, version in ((300, "old"), (200, "middle"), (100, "new")):
        for _ in range(2):
            cache = opened(tmp_path, version=version)
            add(cache, list(range(8)))
            cache.close()
        os.utime(cache.folder / "encoder.json", (time.time() - age,) * 2)
    busy = opened(tmp_path, version="old")
    busy_since = time.time() - 1000
    os.utime(busy.folder / "encoder.json", (busy_since, busy_since))
    kept = {one.version: one for one in encoders(tmp_path)}
    one_segment = sorted(kept["middle"].folder.glob("*.index"))
    limit = sum(one.size for one in kept.values())
    assert make_room(tmp_path, 100, limit) == ""
    assert not one_segment[0].exists()
    assert one_segment[1].exists()
    assert make_room(tmp_path, kept["middle"].size + 1, limit) == ""
    assert {one.version for one in encoders(tmp_path)} == {"old", "new"}
    assert {one.version: one.entries for one in encoders(tmp_path)} == {"old": 16, "new": 8}
    reason = make_room(tmp_path, limit, limit)
    (left,) = encoders(tmp_path)
    assert (left.version, left.entries, left.in_use) == ("old", 16, True)
    assert reason == f"train.cache.size is {limit / 1000:.1f}KB, and {left.size / 1000:.1f}KB are in use"


def test_full_disk_ends_the_writing_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    cache = opened(tmp_path, said=said)
    add(cache, [1])

    def no_space(file: int, data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", no_space)
        add(cache, [2])
    add(cache, [3])
    assert [found(cache, n) for n in (1, 2, 3)] == [True, False, False]
    assert said == [
        f"feature cache: image.encoder: nothing more is added: {cache.folder} cannot be written (No space left on "
        "device); `mmkit cache` shows what is kept"
    ]
    monkeypatch.setattr(cache_folder, "RESERVE", 10**18)
    assert make_room(tmp_path, 1, GIGA) == f"the disk of {tmp_path} has less than 1.0EB left"


def test_cleared_folder_is_begun_anew(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    add(cache, [1])
    cache_folder.clear(encoders(tmp_path)[0])
    add(cache, [2])
    cache.close()
    assert [found(Reader(cache.folder), n) for n in (1, 2)] == [False, True]
    assert [one.component for one in encoders(tmp_path)] == ["image/cnn"]


def test_unreadable_description_is_listed_all_the_same(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    add(cache, [1])
    cache.close()
    path = cache.folder / "encoder.json"
    assert json.loads(path.read_text())["node"] == "image.encoder"
    path.write_text("{")
    (kept,) = encoders(tmp_path)
    assert (kept.component, kept.node, kept.entries, kept.in_use) == ("?", "?", 1, False)
