"""Rows that a user gives: one JSON object, or a file with one on every line."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mmkit.errors import DataError, MmkitError


@dataclass(frozen=True)
class Row:
    """One line of a file; ``fault`` says why it holds no row."""

    number: int
    address: str
    columns: dict[str, Any]
    fault: str = ""


def from_text(text: str | None) -> dict[str, Any]:
    """The value of ``--row``.

    Raises:
        MmkitError: not a JSON object.
    """
    if text is None:
        return {}
    try:
        return _object(text)
    except ValueError as error:
        raise MmkitError(f'--row {error}; write it as --row \'{{"column": "value"}}\'') from None


def from_file(path: Path) -> tuple[Iterator[Row], int | None]:
    """The rows of a file (``-``: stdin), read one by one, and how many there are at most.

    Raises:
        DataError: the file cannot be read.
    """
    if str(path) == "-":
        return _rows(sys.stdin.buffer, "stdin"), None
    try:
        with path.open("rb") as file:
            total = sum(1 for line in file if line.strip())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    if not total:
        raise DataError(f"{path} has no rows")
    return _from_path(path), total


def _from_path(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        yield from _rows(file, str(path))


@dataclass(frozen=True)
class Span:
    """Rows that lie next to each other in a file: where they begin (byte, number of the line), and how many."""

    start: int
    number: int
    count: int


def spans(path: Path, size: int) -> list[Span]:
    """The rows of a file as spans of this many."""
    found: list[Span] = []
    start = number = count = at = 0
    with path.open("rb") as file:
        for line_number, line in enumerate(file, 1):
            if line.strip():
                start, number = (start, number) if count else (at, line_number)
                count += 1
            at += len(line)
            if count == size:
                found.append(Span(start, number, count))
                count = 0
    return [*found, Span(start, number, count)] if count else found


def read_span(path: Path, span: Span) -> list[Row]:
    """Its rows.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(span.start)
            return list(islice(_rows(file, str(path), span.number), span.count))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None


def _rows(file: Any, name: str, first: int = 1) -> Iterator[Row]:
    for number, line in enumerate(file, first):
        if not line.strip():
            continue
        address = f"{name}:{number}"
        try:
            yield Row(number, address, _object(line.decode("utf-8")))
        except ValueError as error:
            yield Row(number, address, {}, str(error))


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("is not valid JSON: nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"must be a JSON object of columns, got a {_KINDS.get(type(value), 'null')}")
    return value


_KINDS = {list: "list", str: "string", int: "number", float: "number", bool: "boolean"}
