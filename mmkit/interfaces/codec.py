"""Codec: a vocabulary of code numbers on a grid of places (pictures) or in frames (sound), in one or several codebooks."""

from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, Protocol, final, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from mmkit.errors import MmkitError, SampleError
from mmkit.interfaces.adapter import VocabularyAdapter
from mmkit.interfaces.known_ids import known_ids


@runtime_checkable
class Grammar(Protocol):
    """A vocabulary in which not every id may follow every other one. Generation chooses among those that may.

    Attributes:
        longest: most ids of one value, end id included; so many are generated where nothing else is asked for.
        streams: ids that are predicted at once, from one hidden state; the model reads them as the sum of their rows.
    """

    longest: int
    streams: int

    def allowed(self, ids: Sequence[int]) -> Sequence[range]:
        """The ids that may follow ``ids``, the end id among them where the value may end. Never empty; called for every
        id that is generated."""


def streams_of(vocabulary: VocabularyAdapter) -> int:
    """Ids of one step."""
    return vocabulary.streams if isinstance(vocabulary, Grammar) else 1


@dataclass(frozen=True)
class CodeLayout:
    """How code numbers, Int["frames codebooks"], lie in one sequence of ids. A frame of a picture is a place of its grid, row
    by row.

    Codebook ``k`` has the ids from ``k * block`` on; then come the begin and the end id.

    Attributes:
        codes: numbers of one codebook, 0 … codes-1. codebooks: how many there are, coarse to fine.
        longest_frames: most frames of one value. shortest_frames: fewest; equal for a fixed grid.
        pattern: ``flat``: an id a step, the codebooks of a frame in turn. ``delay``: all codebooks at once, codebook k a
            frame later than k-1, so that a fine code is predicted knowing the coarse ones of its frame (Copet et al. 2023,
            MusicGen, figure 1); where there is no code stands one more id of the codebook, its last.
    """

    codes: int
    codebooks: int = 1
    longest_frames: int = 1
    shortest_frames: int = 0
    pattern: Literal["flat", "delay"] = "flat"

    @property
    def streams(self) -> int:
        """Ids of one step."""
        return self.codebooks if self.pattern == "delay" else 1

    @property
    def block(self) -> int:
        """Ids of one codebook."""
        return self.codes + (self.pattern == "delay")

    @property
    def size(self) -> int:
        """All ids."""
        return self.codebooks * self.block + 2

    @property
    def longest(self) -> int:
        """Most ids of a value, those of the end included."""
        steps = self.longest_frames + (self.codebooks - 1 if self.pattern == "delay" else 0)
        return steps * self.codebooks + self.streams

    def ids(self, codes: Int[Tensor, "frames codebooks"]) -> list[int]:
        """Lay code numbers out.

        Raises:
            SampleError: another number of codebooks or frames, or a number that is no code.
        """
        if codes.dim() != 2 or codes.shape[1] != self.codebooks:
            raise SampleError(f"the codes have the shape {list(codes.shape)}, wanted is [frames, {self.codebooks}]")
        if not self.shortest_frames <= len(codes) <= self.longest_frames:
            wanted = f"{self.shortest_frames} to {self.longest_frames}"
            if self.shortest_frames == self.longest_frames:
                wanted = str(self.longest_frames)
            raise SampleError(f"the value has {len(codes)} frames of codes, {wanted} are allowed")
        rows: list[list[int]] = codes.tolist()
        wrong = next((number for row in rows for number in row if not 0 <= number < self.codes), None)
        if wrong is not None:
            raise SampleError(f"{wrong} is no code: they go from 0 to {self.codes - 1}; was a file of codes damaged?")
        if self.pattern == "flat":
            return [k * self.block + number for row in rows for k, number in enumerate(row)]
        steps = range(len(rows) + self.codebooks - 1 if rows else 0)
        return [self._delayed(rows, step, k) for step in steps for k in range(self.codebooks)]

    def _delayed(self, rows: Sequence[Sequence[int]], step: int, k: int) -> int:
        frame = step - k
        return k * self.block + (rows[frame][k] if 0 <= frame < len(rows) else self.codes)

    def frames(self, ids: Sequence[int]) -> list[list[int]]:
        """The code numbers of ids, whole frames only; begin and end ids are passed over.

        Raises:
            MmkitError: an id that cannot stand where it does.
        """
        plain = [i for i in ids if i < self.size - 2]
        late = self.pattern == "delay"
        steps = len(plain) // self.codebooks
        of = [
            [i - k * self.block for i in plain[k : steps * self.codebooks : self.codebooks]][k * late :]
            for k in range(self.codebooks)
        ]
        rows = [list(row) for row in zip(*of, strict=False)]  # of codebooks that come later some codes may be missing
        if late:
            rows = list(takewhile(lambda row: row[0] != self.codes, rows))
        for at, row in enumerate(rows):
            for k, number in enumerate(row):
                if not 0 <= number < self.codes:
                    raise MmkitError(
                        f"id {number + k * self.block} cannot be the code of frame {at} in codebook {k}, whose ids go from "
                        f"{k * self.block} to {k * self.block + self.codes - 1}"
                    )
        return rows

    def allowed(self, ids: Sequence[int]) -> tuple[range, ...]:
        """Ids that may follow: those of the codebook whose turn it is, and the end where a frame is whole."""
        end, k = self.size - 1, len(ids) % self.codebooks
        own = range(k * self.block, k * self.block + self.codes)
        if self.pattern == "flat":
            frames = len(ids) // self.codebooks
            if k:
                return (own,)
            if frames >= self.longest_frames:
                return (range(end, end + 1),)
            return (own, range(end, end + 1)) if frames >= self.shortest_frames else (own,)
        return self._allowed_delayed(ids, k, own)

    def _allowed_delayed(self, ids: Sequence[int], k: int, own: range) -> tuple[range, ...]:
        end, step = self.size - 1, len(ids) // self.codebooks
        none = range(own.stop, own.stop + 1)
        leading = ids[0 :: self.codebooks]
        frames = next((at for at, i in enumerate(leading) if i == self.codes), None)
        if k:
            frame = step - k
            return (own,) if frame >= 0 and (frames is None or frame < frames) else (none,)
        if frames is not None:
            return (none,) if step - frames < self.codebooks - 1 else (range(end, end + 1),)
        if step >= self.longest_frames:
            return (none,) if self.codebooks > 1 else (range(end, end + 1),)
        if step < self.shortest_frames:
            return (own,)
        stop = range(end, end + 1) if step == 0 or self.codebooks == 1 else none
        return (own, stop)


def _key(raw: Any) -> Hashable | None:
    """What tells a file from others, where it is one: its bytes, or its path, size and time."""
    if isinstance(raw, Mapping):
        raw = raw.get("bytes") or raw.get("path")
    if isinstance(raw, bytes):
        return blake2b(raw, digest_size=16).digest()
    if not isinstance(raw, str | Path):
        return None
    try:
        found = Path(raw).stat()
    except OSError:
        return None
    return str(raw), found.st_size, found.st_mtime_ns


class CodeStore(Protocol):
    """Remembers the ids of contents beyond this process; picklable."""

    def ids(self, raw: Any, make: Callable[[], list[int]]) -> list[int]:
        """Of a content that is known, else what ``make`` gives."""


class Codec(VocabularyAdapter):
    """A modality written as code numbers. What it needs of a network it holds frozen: ``encode`` runs in data workers.

    A sub-class gives ``layout``, ``quantize`` and ``restore``; ids, their grammar and their patterns are the layout's.

    Attributes:
        layout: number of codes, codebooks and frames, and their pattern.
        grid: (rows, columns) of a picture's codes. frame_rate: frames a second of sound. One of them, or neither.
        strings_are_paths: True: a picture or a sound may be given as a file.
    """

    strings_are_paths = True
    layout: CodeLayout
    grid: tuple[int, int] | None = None
    frame_rate: float | None = None
    store: CodeStore | None = None
    """Set while a run keeps ids on disk."""

    @abstractmethod
    def quantize(self, raw: Any) -> Int[Tensor, "frames codebooks"]:
        """Code numbers of one raw value.

        Raises:
            SampleError: the value cannot be read, or is empty.
        """

    @abstractmethod
    def restore(self, codes: Int[Tensor, "frames codebooks"]) -> Any:
        """The raw value of code numbers; of fewer frames than a whole value has, what is there."""

    @property
    def size(self) -> int:  # type: ignore[override]
        """Ids of all codebooks, begin and end."""
        return self.layout.size

    @property
    def begin_id(self) -> int:  # type: ignore[override]
        """The last but one."""
        return self.layout.size - 2

    @property
    def end_id(self) -> int:  # type: ignore[override]
        """The last."""
        return self.layout.size - 1

    @property
    def longest(self) -> int:
        """Most ids of a value."""
        return self.layout.longest

    @property
    def streams(self) -> int:
        """Ids of one step."""
        return self.layout.streams

    @final
    def encode(self, raw: Any) -> list[int]:
        """``quantize``, laid out. Files and their bytes are remembered while there is room: later epochs do not run the network
        again."""
        key = _key(raw)
        if key is None:
            return self._made(raw)
        return known_ids(self).get(key, lambda: self._kept(raw))

    def _made(self, raw: Any) -> list[int]:
        return self.layout.ids(self.quantize(raw))

    def _kept(self, raw: Any) -> list[int]:
        return self._made(raw) if self.store is None else self.store.ids(raw, lambda: self._made(raw))

    @final
    def decode(self, ids: Sequence[int]) -> Any:
        """``restore`` of the whole frames."""
        return restored(self, self.layout.frames(ids))

    @final
    def allowed(self, ids: Sequence[int]) -> tuple[range, ...]:
        """By the layout."""
        return self.layout.allowed(ids)


def restored(codec: Codec, frames: Sequence[Sequence[int]]) -> Any:
    """The value of some frames, as ``CodeLayout.frames`` gives them."""
    return codec.restore(torch.tensor(frames, dtype=torch.int64).reshape(len(frames), codec.layout.codebooks))
