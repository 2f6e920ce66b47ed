"""Rows from JSONL, CSV, Parquet, folders and hub data sets, through ``datasets``."""

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkit.errors import DataError, nearest
from mmkit.spec.schema import Data, DataSource

_FORMATS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}


@dataclass(frozen=True)
class Rows:
    """An opened source: ``rows`` can be indexed unless ``streaming``; ``root`` is what media paths stay in."""

    given: DataSource
    rows: Any
    root: Path
    name: str

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._renamed(self.rows[index])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self._renamed(row) for row in self.rows)

    def _renamed(self, row: dict[str, Any]) -> dict[str, Any]:
        return {self.given.rename.get(name, name): value for name, value in row.items()}


def open_source(given: DataSource, data: Data, spec_root: Path) -> Rows:
    """Open one source.

    Raises:
        DataError: nothing matches the path, the format is unknown, or there are no rows.
    """
    import datasets

    datasets.disable_progress_bars()
    root = spec_root
    try:
        if given.path.startswith("hub:"):
            rows = datasets.load_dataset(given.path[4:], split=given.split, streaming=given.streaming)
        else:
            base = Path(given.path).expanduser()
            base = base if base.is_absolute() else spec_root / base
            rows, root = _local(given, base, datasets)
    except DataError:
        raise
    except Exception as error:
        detail = str(error).splitlines()[0] if str(error) else ""
        raise DataError(f"cannot read {given.path}: {type(error).__name__}: {detail}") from None
    for name, feature in list((rows.features or {}).items()):
        if type(feature).__name__ in ("Image", "Audio"):
            rows = rows.cast_column(name, type(feature)(decode=False))
    if given.limit is not None:
        rows = rows.take(given.limit) if given.streaming else rows.select(range(min(given.limit, len(rows))))
    if not given.streaming and not len(rows):
        raise DataError(f"{given.path} has no rows")
    if data.root is not None:
        root = Path(data.root) if Path(data.root).is_absolute() else spec_root / data.root
    _check_columns(given, rows)
    return Rows(given, rows, root, given.path)


def _local(given: DataSource, base: Path, datasets: Any) -> tuple[Any, Path]:
    if base.is_dir():
        kind = "audiofolder" if any(base.rglob("*.wav")) or any(base.rglob("*.flac")) else "imagefolder"
        rows = datasets.load_dataset(kind, data_dir=str(base), split=given.split, streaming=given.streaming)
        return rows, base
    files = sorted(glob.glob(str(base)))
    if not files:
        raise DataError(f"no file matches {base}")
    if all(Path(file).stat().st_size == 0 for file in files):
        raise DataError(f"{given.path} has no rows")
    suffix = Path(files[0]).suffix
    if suffix not in _FORMATS:
        raise DataError(f"{files[0]} is not a known format: {nearest(suffix, list(_FORMATS))}")
    extra = {"sep": "\t"} if suffix == ".tsv" else {}
    rows = datasets.load_dataset(_FORMATS[suffix], data_files=files, split="train", streaming=given.streaming, **extra)
    return rows, Path(files[0]).parent


def _check_columns(given: DataSource, rows: Any) -> None:
    unknown = [name for name in given.rename if rows.column_names and name not in rows.column_names]
    if unknown:
        raise DataError(
            f"{given.path} has no column {unknown[0]!r} to rename: {nearest(unknown[0], rows.column_names)}"
        )
