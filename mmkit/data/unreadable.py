"""Why a data file cannot be read, with the line where that is known."""

import json
from collections.abc import Sequence
from pathlib import Path

from mmkit.errors import DataError


def unreadable(name: str, files: Sequence[str], error: Exception) -> DataError:
    """What a reader of ``datasets`` raised, as one sentence; it wraps the cause, and keeps it out of its message."""
    if "corresponds to no data" in str(error):
        return DataError(f"{name} has no rows")
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    said = next(iter(str(cause).splitlines()), "")
    place = next((found for file in files if (found := _bad_line(file))), "")
    return DataError(f"cannot read {place or f'{name}: {type(cause).__name__}: {said}'}")


def _bad_line(file: str) -> str:
    """The first line of a JSONL file that is no JSON object, and why."""
    if Path(file).suffix not in (".jsonl", ".json") or not Path(file).is_file():
        return ""
    with Path(file).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if number == 1 and line.lstrip().startswith(b"["):
                return ""  # one array, not a row a line
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except UnicodeDecodeError as error:
                return f"{file}:{number}: not UTF-8 text: {error.reason} at byte {error.start} of the line"
            except ValueError as error:
                return f"{file}:{number}: not JSON: {error}"
            if not isinstance(row, dict):
                return f"{file}:{number}: a row is an object {{column: value}}, got {type(row).__name__}"
    return ""
