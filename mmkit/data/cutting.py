"""Samples longer than the token budget: cut, or split into several. Only text ids are cut, never a media span."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from mmkit.errors import SampleError
from mmkit.model.batch import Ids, Sample


@dataclass(frozen=True)
class Sizes:
    """What a sample costs: ``stream`` tokens, and ``target`` ids where they run through the backbone too."""

    stream: int
    target: int

    @property
    def total(self) -> int:
        """At least 1, so that a batch cannot hold samples without end."""
        return max(1, self.stream + self.target)


def sizes(sample: Sample, autoregressive: Sequence[str]) -> Sizes:
    """The exact number of tokens of a prepared sample."""
    stream = sum(len(part.ids) if isinstance(part, Ids) else part.tokens for part in sample.parts)
    counted = sample.target is not None and sample.task in autoregressive
    return Sizes(stream, len(sample.target) if counted and sample.target is not None else 0)


def truncate(sample: Sample, size: Sizes, budget: int) -> Sample:
    """Cut the longest runs of text ids from their ends to one length, so that the sample just fits.

    Raises:
        SampleError: media alone, with one id left of every text, need more than the budget.
    """
    runs = _runs(sample, size)
    text = sum(runs.values())
    allowed = budget - (size.total - text)
    if allowed < len(runs) or not runs:
        raise SampleError(
            f"{size.total:,} tokens do not fit in tokens_per_batch = {budget:,}, and only {text:,} of them are text "
            "that could be cut; raise tokens_per_batch, or set long_samples: drop"
        )
    kept: dict[int, int] = {}
    for left, (run, length) in zip(range(len(runs), 0, -1), sorted(runs.items(), key=lambda r: r[1]), strict=True):
        kept[run] = min(length, allowed // left)
        allowed -= kept[run]
    for run, length in kept.items():
        sample = _slice(sample, run, 0, length)
    return sample


def split(sample: Sample, size: Sizes, budget: int) -> list[Sample]:
    """Cut the longest run of text ids (of the prompt or of the target) into pieces; each keeps everything else.

    Raises:
        SampleError: everything else leaves no room for the pieces.
    """
    runs = _runs(sample, size)
    longest = max(runs, key=lambda run: runs[run], default=None)
    length = 0 if longest is None else runs[longest]
    room = budget - (size.total - length)
    if longest is None or room < 1:
        raise SampleError(
            f"{size.total:,} tokens do not fit in tokens_per_batch = {budget:,}; splitting the longest text keeps "
            f"everything else in every piece, and that alone has {size.total - length:,}; raise tokens_per_batch, or "
            "set long_samples: truncate or drop"
        )
    return [_slice(sample, longest, at, min(length, at + room)) for at in range(0, length, room)]


def _runs(sample: Sample, size: Sizes) -> dict[int, int]:
    """Length of every run of text ids that is not empty, by the place of its part; −1 is the target."""
    texts = ((place, part) for place, part in enumerate(sample.parts) if isinstance(part, Ids) and not part.whole)
    runs = {place: len(part.ids) for place, part in texts if part.ids}
    return {**runs, -1: size.target} if size.target and not sample.whole else runs


def _slice(sample: Sample, run: int, start: int, end: int) -> Sample:
    if run == -1:
        assert isinstance(sample.target, Tensor)
        return replace(sample, target=sample.target[start:end])
    part = sample.parts[run]
    assert isinstance(part, Ids)
    cut = Ids(part.ids[start:end])
    return replace(sample, parts=(*sample.parts[:run], cut, *sample.parts[run + 1 :]))
