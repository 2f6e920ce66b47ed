"""Rows that a plugin's source gives, in the form of ``datasets``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmkit.errors import DataError, MmkitError, PluginError, SampleError
from mmkit.interfaces.source import SourceContext
from mmkit.spec.schema import DataSource
from mmkit.wiring.graph import Placed


class Indexed:
    """A sequence of rows with what is used of a ``datasets.Dataset``; a choice of its rows is another one."""

    features: Mapping[str, Any] = {}

    def __init__(self, rows: Sequence[Mapping[str, Any]], who: str, chosen: range | None = None) -> None:
        self.rows, self.who = rows, who
        self.chosen = range(len(rows)) if chosen is None else chosen
        self.column_names = list(self[0]) if len(self) else []

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> dict[str, Any]:
        try:
            row = self.rows[self.chosen[index]]
        except MmkitError:
            raise
        except Exception as error:
            raise DataError(f"cannot read row {index + 1} of {self.who}: {type(error).__name__}: {error}") from error
        return _row(row, self.who)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Every row but bad ones, which are counted where samples are made of them."""
        for index in range(len(self)):
            with suppress(SampleError):
                yield self[index]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        return [self[index] for index in indices]

    def select(self, indices: range) -> "Indexed":
        """These rows alone."""
        return Indexed(self.rows, self.who, self.chosen[indices.start : indices.stop : indices.step])


def offered_rows(placed: Placed, given: DataSource, root: Path) -> Any:
    """What the component's builder gives: a ``Dataset``, an ``Indexed``, or where rows are streamed an ``IterableDataset``.

    Raises:
        PluginError: it gives no rows. DataError: it cannot be opened, or not in the way that the spec asks for.
    """
    import datasets

    who = f"source {placed.component.full_name!r}"
    context = SourceContext(root, given.split, given.streaming)
    try:
        rows = placed.build(context)
    except MmkitError:
        raise
    except Exception as error:
        raise DataError(f"{who} cannot be opened: {type(error).__name__}: {error}") from error
    ready = datasets.IterableDataset if given.streaming else datasets.Dataset
    if isinstance(rows, ready):
        return rows
    if isinstance(rows, datasets.Dataset):
        return rows.to_iterable_dataset()
    if given.streaming and isinstance(rows, Iterable) and not isinstance(rows, Iterator):
        return datasets.IterableDataset.from_generator(_each, gen_kwargs={"rows": rows, "who": who})
    if not given.streaming and hasattr(rows, "__len__") and hasattr(rows, "__getitem__"):
        return Indexed(rows, who)
    if not given.streaming and isinstance(rows, Iterable):
        raise DataError(f"{who} gives its rows one after another; say streaming: true")
    got = type(rows).__name__
    raise PluginError(f"{who} gives a {got}, wanted is a sequence of rows, or an iterable that can be begun anew")


def _each(rows: Iterable[Mapping[str, Any]], who: str) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield _row(row, who)


def _row(row: Any, who: str) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise PluginError(f"{who} gives a {type(row).__name__} as a row, wanted is a mapping of columns to values")
    return dict(row)
