"""What codecs remember is bounded, and ends with them."""

import gc
import threading
from pathlib import Path

import pytest
import torch
from jaxtyping import Int
from torch import Tensor

from mmkit import Codec, CodeLayout
from mmkit.interfaces import known_ids


class Bytes(Codec):
    """The bytes of a value, four at most; counts what it was asked."""

    layout = CodeLayout(codes=256, longest_frames=4)
    frame_rate = 1.0

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def quantize(self, raw: bytes) -> Int[Tensor, "frames codebooks"]:
        self.asked.append(raw)
        return torch.tensor(list(raw))[:, None]

    def restore(self, codes: Int[Tensor, "frames codebooks"]) -> bytes:
        return bytes(codes[:, 0].tolist())


def test_many_codecs_do_not_accumulate() -> None:
    gc.collect()
    before = len(known_ids._OF)
    for number in range(100):
        assert Bytes().encode(bytes([number])) == [number]
    gc.collect()
    assert len(known_ids._OF) == before


def test_what_was_asked_for_longest_ago_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_ids, "ROOM", 3 * (1 + known_ids.ENTRY))
    codec = Bytes()
    for value in (b"a", b"b", b"c", b"a", b"d"):
        assert codec.encode(value) == list(value)
    assert codec.asked == [b"a", b"b", b"c", b"d"]
    assert len(known_ids.known_ids(codec)) == 3
    codec.encode(b"a")
    assert codec.asked[4:] == []
    codec.encode(b"b")  # went when d came
    assert codec.asked[4:] == [b"b"]


def test_a_thousand_values_take_no_more_than_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_ids, "ROOM", 10 * (4 + known_ids.ENTRY))
    codec = Bytes()
    for number in range(1000):
        codec.encode(number.to_bytes(4, "big"))
    known = known_ids.known_ids(codec)
    assert len(known) == 10
    assert known._taken == 10 * (4 + known_ids.ENTRY)


def test_a_value_larger_than_the_room_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_ids, "ROOM", known_ids.ENTRY)
    codec = Bytes()
    assert codec.encode(b"abcd") == codec.encode(b"abcd") == list(b"abcd")
    assert len(known_ids.known_ids(codec)) == 0


def test_what_is_given_belongs_to_the_caller() -> None:
    codec = Bytes()
    for _ in range(3):
        codec.encode(b"ab").append(7)
    assert codec.encode(b"ab") == list(b"ab")


def test_threads_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_ids, "ROOM", 5 * (1 + known_ids.ENTRY))
    codec, faults = Bytes(), list[object]()

    def work() -> None:
        for number in range(2000):
            value = bytes([number * 7 % 20])
            if codec.encode(value) != list(value):
                faults.append(value)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    known = known_ids.known_ids(codec)
    assert (faults, len(known), known._taken) == ([], 5, 5 * (1 + known_ids.ENTRY))


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    class Files(Bytes):
        def quantize(self, raw: object) -> Int[Tensor, "frames codebooks"]:
            return super().quantize(Path(str(raw)).read_bytes())

    codec, path = Files(), tmp_path / "value"
    path.write_bytes(b"ab")
    assert codec.encode(path) == codec.encode(path) == list(b"ab")
    path.write_bytes(b"abc")
    assert codec.encode(str(path)) == list(b"abc")
    assert codec.asked == [b"ab", b"abc"]
