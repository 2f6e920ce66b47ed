"""One prediction as it comes into being: text by text, sound chunk by chunk, a picture row by row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmkit.errors import MmkitError
from mmkit.interfaces import Codec, VocabularyAdapter
from mmkit.interfaces.codec import restored
from mmkit.model.batch import Sample, pack

if TYPE_CHECKING:
    from mmkit.model.model import Model

CHUNK_SECONDS = 0.5


@dataclass(frozen=True)
class Piece:
    """What is new.

    Attributes:
        modality: of the value. value: text that follows the texts before; sound that follows the sounds before; of a grid,
            the picture with all rows that are there so far; of the last one, None where no sound is left. last: nothing follows.
        replaces: the value takes the place of those before, as a picture does that has more rows.
        ids: how many ids are written so far. whole: whether the value ends by itself, known of the last piece.
    """

    modality: str
    value: Any
    last: bool = False
    replaces: bool = False
    ids: int = 0
    whole: bool = True


def stream(
    model: "Model", task: str, sample: Mapping[str, Any], root: str | Path | None = None, **options: Any
) -> Iterator[Piece]:
    """The pieces of one prediction; the last one may have an empty value. Options as for ``predict``, without beams.

    Raises:
        MmkitError: the task does not generate, or an option is not legal. SampleError: the sample cannot be used.
    """
    model.known(task)
    if not model.parts.heads[task].autoregressive:
        raise MmkitError(f"task {task!r} does not generate, so there is nothing to stream; use predict")
    yield from stream_prepared(model, model.preparer(root)(task, sample, target=False), options)


def stream_prepared(model: "Model", sample: Sample, options: Mapping[str, Any]) -> Iterator[Piece]:
    """``stream`` of a sample that is prepared."""
    from mmkit.model.generate import prepared, say_cut
    from mmkit.model.model import Run

    task = sample.task
    batch = pack([sample], model.processors()).to(model.device)
    was = model.training
    model.eval()
    try:
        with torch.no_grad():
            decoder, prompt, chosen = prepared(Run(model, batch), task, options)
        if chosen["beams"] > 1:
            raise MmkitError("beams > 1 cannot be streamed: which text wins is known at the end; use predict")
        modality = model.plan.tasks[task].output_modality or ""
        vocabulary = decoder.vocabulary
        pieces = _Frames(vocabulary) if isinstance(vocabulary, Codec) else _Texts(vocabulary)
        for (ids,) in decoder.steps(prompt, chosen):
            for value in pieces.new(ids):
                yield Piece(modality, value, replaces=pieces.replaces, ids=len(ids))
        say_cut(decoder, task, 1, chosen)
        whole = not decoder.cut
        yield Piece(modality, pieces.rest(ids), last=True, replaces=pieces.replaces, ids=len(ids), whole=whole)
    finally:
        model.train(was)


class _Texts:
    """What a longer decoding adds to a shorter one; of values that are no text, nothing until they are whole."""

    replaces = False

    def __init__(self, vocabulary: VocabularyAdapter) -> None:
        self.vocabulary, self.given = vocabulary, ""
        self.grows = isinstance(vocabulary.decode([]), str)

    def new(self, ids: list[int]) -> Iterator[str]:
        """What these ids add; a letter of several ids waits until it is whole."""
        text = self.vocabulary.decode(ids) if self.grows else ""
        if len(text) > len(self.given) and text.startswith(self.given) and not text.endswith("\ufffd"):
            yield text[len(self.given) :]
            self.given = text

    def rest(self, ids: list[int]) -> Any:
        """What was held back."""
        value = self.vocabulary.decode(ids)
        return value[len(self.given) :] if self.grows else value


class _Frames:
    """Codes: whole rows of a picture, chunks of a sound."""

    def __init__(self, codec: Codec) -> None:
        self.codec, self.done, self.replaces = codec, 0, codec.grid is not None
        self.unit = codec.grid[1] if codec.grid else max(1, round((codec.frame_rate or 0.0) * CHUNK_SECONDS))

    def new(self, ids: list[int]) -> Iterator[Any]:
        """Every whole unit."""
        if len(ids) < (self.done + self.unit) * self.codec.layout.codebooks:
            return
        frames = self.codec.layout.frames(ids)
        while len(frames) >= self.done + self.unit:
            self.done += self.unit
            first = 0 if self.codec.grid else self.done - self.unit
            yield restored(self.codec, frames[first : self.done])

    def rest(self, ids: list[int]) -> Any:
        """The whole picture, or the end of the sound; None where that is there already."""
        frames = self.codec.layout.frames(ids)
        left = frames if self.codec.grid else frames[self.done :]
        return restored(self.codec, left) if self.codec.grid or left else None
