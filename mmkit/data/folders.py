"""A folder of media files → rows: one a file, with the folder it lies in as its label, or as a metadata file says.

``datasets`` reads such folders too, but sounds only with a codec library that needs a system FFmpeg, and it would decode.
"""

import mimetypes
from collections import Counter
from pathlib import Path
from typing import Any

from mmkit.errors import DataError, nearest

METADATA = {"metadata.jsonl": "json", "metadata.csv": "csv", "metadata.parquet": "parquet"}
_KINDS = {".flac": "audio", ".ogg": "audio", ".opus": "audio", ".m4a": "audio", ".avif": "image", ".webp": "image"}
_BESIDE = ("text", "application")


def read_folder(base: Path, split: str, streaming: bool) -> tuple[Any, Path]:
    """The rows of a folder, and the folder that their paths start from.

    A sub-folder named like the split is read alone. The column of the files is named after their kind (``image``,
    ``audio``, ``video``; ``file`` where the system knows none); ``label`` is the sub-folder, where every file lies in one.
    A ``metadata.jsonl``, ``.csv`` or ``.parquet`` with a column ``file_name`` gives the columns instead.

    Raises:
        DataError: no such split, no files, or files of several kinds.
    """
    root = _root(base, split)
    files = sorted(path for path in root.rglob("*") if path.is_file() and not _hidden(path, root))
    described = next((path for path in files if path.parent == root and path.name in METADATA), None)
    files = [path for path in files if path.name not in METADATA]
    kind = _kind(root, files)
    if described is not None:
        return _described(described, kind, streaming), root
    chosen = [path.relative_to(root) for path in files if _kind_of(path) == kind]
    columns: dict[str, list[str]] = {kind: [str(path) for path in chosen]}
    if all(len(path.parts) > 1 for path in chosen):
        columns["label"] = [path.parts[-2] for path in chosen]
    import datasets

    rows = datasets.Dataset.from_dict(columns)
    return (rows.to_iterable_dataset() if streaming else rows), root


def _root(base: Path, split: str) -> Path:
    if (base / split).is_dir():
        return base / split
    if split != "train":
        folders = [path.name for path in base.iterdir() if path.is_dir()]
        raise DataError(f"{base} has no folder {split!r} for the split: {nearest(split, folders)}")
    return base


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _kind_of(path: Path) -> str:
    return _KINDS.get(path.suffix.lower()) or (mimetypes.guess_type(path.name)[0] or "file").partition("/")[0]


def _kind(root: Path, files: list[Path]) -> str:
    """The one kind of media; a licence or a script beside them does not count."""
    counts = Counter(_kind_of(path) for path in files)
    media = [kind for kind in counts if kind not in _BESIDE] or list(counts)
    if not media:
        raise DataError(f"{root} has no files")
    if len(media) > 1:
        found = ", ".join(f"{counts[kind]} {kind}" for kind in sorted(media))
        raise DataError(f"{root} has files of several kinds ({found}); name them in a JSONL or CSV file instead")
    return media[0]


def _described(file: Path, kind: str, streaming: bool) -> Any:
    import datasets

    rows = datasets.load_dataset(METADATA[file.name], data_files=[str(file)], split="train", streaming=streaming)
    if "file_name" not in (rows.column_names or ()):
        hint = nearest("file_name", rows.column_names or ())
        raise DataError(f"{file} needs a column 'file_name': {hint}")
    return rows.rename_column("file_name", kind)
