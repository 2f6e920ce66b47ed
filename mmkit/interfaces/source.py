"""What the builder of a source gives: the rows of a data set that is no file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]
RowSource: TypeAlias = Sequence[Row] | Iterable[Row]
"""Rows that can be indexed in any order (``len(rows)``, ``rows[i]``), or, for a spec that says ``streaming: true``, an
iterable that begins anew every time it is iterated. A ``datasets.Dataset`` or ``IterableDataset`` is either.

Rows are read in data workers, so a source travels between processes: open files and connections when they are first read,
not when it is made.
"""


@dataclass(frozen=True)
class SourceContext:
    """The first argument of a source's builder.

    Attributes:
        root: the folder that relative paths in rows start from.
        split: of the spec's entry. streaming: whether rows are wanted one by one.
    """

    root: Path
    split: str = "train"
    streaming: bool = False
