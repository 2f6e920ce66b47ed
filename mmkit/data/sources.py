"""Rows from JSONL, CSV, Parquet, folders and hub data sets, through ``datasets``."""

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from mmkit.data.folders import read_folder
from mmkit.data.offered import offered_rows
from mmkit.data.unreadable import unreadable
from mmkit.errors import DataError, MmkitError, nearest
from mmkit.spec.schema import Data, DataSource
from mmkit.spec.template import Literal
from mmkit.wiring.graph import Placed, Plan

_FORMATS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}


@dataclass(frozen=True)
class Rows:
    """An opened source: ``rows`` can be indexed unless ``given.streaming``; ``root`` is what media paths stay in.

    A streamed source of several ``shards`` (files, row groups) reads them in another order in every pass.
    """

    given: DataSource
    rows: Any
    root: Path
    name: str
    shards: int = 1

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.fetch([index])[0]

    def fetch(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Rows of an indexed source; many at once cost a third to a quarter of as many calls."""
        return [self.renamed(row) for row in self.rows.__getitems__(list(indices))]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rows = islice(self.rows, self.given.limit)
        while True:
            try:
                row = next(rows, None)
            except MmkitError:
                raise
            except Exception as error:
                raise unreadable(self.name, [], error) from None
            if row is None:
                return
            yield self.renamed(row)

    def first(self, count: int) -> "Rows":
        """Only so many rows."""
        if self.given.streaming:
            limit = min(count, self.given.limit or count)
            return replace(self, given=self.given.model_copy(update={"limit": limit}), shards=1)
        return replace(self, rows=self.rows.select(range(min(count, len(self)))))

    def renamed(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row under the names that the templates use."""
        rename = self.given.rename
        return {rename.get(name, name): value for name, value in row.items()} if rename else row

    def address(self, row: int, epoch: int = 0) -> str:
        """What a message calls a row: its place in the file, or in the pass where files come in a changing order."""
        return f"{self.name}: row {row + 1} of pass {epoch + 1}" if self.shards > 1 else f"{self.name}:{row + 1}"


def open_all(plan: Plan, part: str) -> list[Rows]:
    """The sources of ``train``, ``valid`` or ``test``, their columns checked against the templates.

    Raises:
        DataError: nothing to read, or a template names a column that a file does not have.
    """
    data = plan.spec.data or Data()
    given: Sequence[DataSource] = getattr(data, part)
    if not given:
        raise DataError(f"the spec names no data.{part}; add data: {{{part}: [{{task: …, path: …}}]}}")
    opened = []
    for index, source in enumerate(given):
        offered = plan.beside_at(("data", part, index, "source")) if source.source else None
        opened.append(open_source(source, data, plan.source.root, offered))
    for rows in opened:
        task = plan.tasks[rows.given.task]
        wanted = [*task.columns, *task.outputs]
        names = rows.rows.column_names
        if names:
            have = [rows.given.rename.get(name, name) for name in names]
            for column in wanted:
                if column not in have:
                    hint = nearest(column, have)
                    raise DataError(
                        f"task {task.name!r} needs column {column!r}, which {rows.name} does not have: {hint}"
                    )
    return opened


def open_source(given: DataSource, data: Data, spec_root: Path, offered: Placed | None = None) -> Rows:
    """Open one source; ``offered`` is the component that gives its rows, where it is no file.

    Raises:
        DataError: nothing matches the path, the format is unknown, or there are no rows.
        PluginError: what a plugin gives are no rows.
    """
    import datasets

    datasets.disable_progress_bars()
    if offered is not None:
        rows, root = offered_rows(offered, given, spec_root), spec_root
    else:
        rows, root = _read(given, str(given.path), spec_root)
    for name, feature in list((rows.features or {}).items()):
        if type(feature).__name__ in ("Image", "Audio"):
            rows = rows.cast_column(name, type(feature)(decode=False))
    if given.limit is not None and not given.streaming:
        rows = rows.select(range(min(given.limit, len(rows))))
    if not given.streaming and not len(rows):
        raise DataError(f"{given.name} has no rows")
    if data.root is not None:
        root = Path(data.root) if Path(data.root).is_absolute() else spec_root / data.root
    _check_columns(given, rows)
    shards = rows.num_shards if given.streaming and given.limit is None else 1
    return Rows(given, rows, root, given.name, shards)


def _read(given: DataSource, path: str, spec_root: Path) -> tuple[Any, Path]:
    """Rows of files or of the hub, and the folder that relative paths in them start from."""
    import datasets

    hub = path.startswith("hub:")
    base = spec_root / Path(path).expanduser()
    try:
        if hub:
            return datasets.load_dataset(path[4:], split=given.split, streaming=given.streaming), spec_root
        return _local(given, base, datasets)
    except DataError:
        raise
    except Exception as error:
        raise unreadable(path, [] if hub else glob.glob(str(base)), error) from None


def _local(given: DataSource, base: Path, datasets: Any) -> tuple[Any, Path]:
    if base.is_dir():
        return read_folder(base, given.split, given.streaming)
    files = sorted(glob.glob(str(base)))
    if not files:
        raise DataError(f"no file matches {base}")
    if all(Path(file).stat().st_size == 0 for file in files):
        raise DataError(f"{given.name} has no rows")
    suffix = Path(files[0]).suffix
    if suffix not in _FORMATS:
        raise DataError(f"{files[0]} is not a known format: {nearest(suffix, list(_FORMATS))}")
    extra: dict[str, Any] = {"sep": "\t"} if suffix == ".tsv" else {}
    if suffix == ".parquet" and given.streaming:
        from mmkit.data.parquet import stream_parquet

        return stream_parquet(files), Path(files[0]).parent
    rows = datasets.load_dataset(_FORMATS[suffix], data_files=files, split="train", streaming=given.streaming, **extra)
    return rows, Path(files[0]).parent


def _check_columns(given: DataSource, rows: Any) -> None:
    unknown = [name for name in given.rename if rows.column_names and name not in rows.column_names]
    if unknown:
        raise DataError(
            f"{given.name} has no column {unknown[0]!r} to rename: {nearest(unknown[0], rows.column_names)}"
        )
    names = [given.rename.get(name, name) for name in rows.column_names or ()]
    for old, new in given.rename.items():
        if names.count(new) > 1:
            raise DataError(f"{given.name}: {old!r} cannot be renamed to {new!r}, which is the name of another column")


def without_stream(rows: Rows) -> Rows:
    """What a data worker needs of a streamed source, whose rows the main process reads: their types."""
    return replace(rows, rows=rows.rows.features) if rows.given.streaming else rows


def raw_values(sources: Sequence[Rows], plan: Plan, modality: str) -> Iterator[Any]:
    """Every raw value of a modality in the sources and the templates, to fit vocabularies and continuous adapters on."""
    for task in plan.tasks.values():
        if modality == plan.literals:
            yield from (part.text for part in (*task.parts, *task.written) if isinstance(part, Literal))
    for rows in sources:
        task = plan.tasks[rows.given.task]
        columns = {c for c, m in task.modality_of.items() if m == modality}
        if task.by_adapter:
            columns |= {column for column, written in task.outputs.items() if written == modality}
        mixed = [c for c, several in task.mixed.items() if modality in several]
        for row in rows:
            yield from (row[c] for c in sorted(columns) if row.get(c) is not None)
            for column in mixed:
                yield from _parts(row.get(column), modality)


def _parts(value: Any, modality: str) -> Iterator[Any]:
    """Those of this modality in a value that is a list of parts; nothing of a bad one, which is reported where rows are read."""
    for part in value if isinstance(value, list) else ():
        if isinstance(part, Mapping) and part.get(modality) is not None:
            yield part[modality]
