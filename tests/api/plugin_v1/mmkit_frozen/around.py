"""What is no part of a model: rows, a metric, a command, a section of the report, older options."""

from collections.abc import Iterator, Sequence
from typing import Any

import typer

from mmkit import BuildContext, Evaluation, RowSource, SampleError, SourceContext


class Waves(Sequence):
    """Made rows: a signal of n beats, n, and the signal's first and next samples."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return {"signal": [0.0, 1.0] * (index + 1), "cycles": index + 1, "past": [0.0, 1.0], "future": [0.0, 1.0]}


class Stream:
    """The same, one by one."""

    def __init__(self, rows: Waves) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)


def build_waves(context: SourceContext, *, count: int) -> RowSource:
    """Builder of ``waves``."""
    if not context.root.is_dir():
        raise SampleError(f"there is no folder {context.root}")
    return Stream(Waves(count)) if context.streaming else Waves(count)


class Answers:
    """How many answers there are."""

    def __init__(self, name: str) -> None:
        self.name, self.count = name, 0

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Add a batch."""
        self.count += len(list(zip(predictions, references, strict=True)))

    def compute(self) -> dict[str, float]:
        """Over everything added."""
        return {self.name: float(self.count)}


def build_answers(context: BuildContext, *, name: str) -> Answers:
    """Builder of ``answers``."""
    return Answers(name)


def waves(count: int) -> None:
    """Cycles of made signals."""
    for row in Waves(count):
        typer.echo(f"{row['cycles']} cycles")


def section(evaluation: Evaluation) -> str | None:
    """The signals that were read."""
    return evaluation.cards("signal", lambda signal: f"<p>{len(signal)} samples</p>")


def width(options: dict[str, Any]) -> dict[str, Any]:
    """``dim`` was called ``width``."""
    return {**{k: v for k, v in options.items() if k != "width"}, "dim": options["width"]}
