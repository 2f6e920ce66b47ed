"""What commands print: tables that fit any terminal, and JSON for scripts. Results go to stdout, all else to stderr."""

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from shutil import get_terminal_size
from typing import Any
from unicodedata import combining, east_asian_width

import typer

NO_LIMIT = 100_000
LEAST = 28
"""Characters of a line that a text needs to be read."""


def terminal_width() -> int:
    """Columns of the terminal; lines are never wrapped where the output goes into a file or a pipe."""
    return get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else NO_LIMIT


def show(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[str] = (),
    wrap: str = "",
    spare: Sequence[str] = (),
    total: bool = False,
) -> None:
    """A table. Where the terminal is too narrow, spare columns go first, then it becomes one block of lines a row.

    Args:
        numbers: columns set flush right. wrap: the one column that may take several lines. total: the last row is a sum.
        spare: columns that may be left out, in this order.
    """
    room, left_out = terminal_width(), list[str]()
    while (least := _least(columns, rows, wrap)) > room and len(left_out) < len(spare):
        left_out.append(spare[len(left_out)])
        kept = [index for index, name in enumerate(columns) if name != left_out[-1]]
        columns, rows = [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]
    if least > room:
        _blocks(room, columns, rows)
    else:
        _table(room, columns, rows, numbers, wrap, total)
    if left_out:
        note(f"no room for: {', '.join(left_out)} (--json has everything)")


def _least(columns: Sequence[str], rows: Sequence[Sequence[str]], wrap: str) -> int:
    """Characters of a line that a table needs: its longest cells, and two blanks between them."""
    widths = [max(cell_len(row[index]) for row in (columns, *rows)) for index in range(len(columns))]
    return (
        sum(min(w, LEAST) if name == wrap else w for name, w in zip(columns, widths, strict=True)) + 2 * len(widths) - 2
    )


def _table(
    room: int, columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str], wrap: str, total: bool
) -> None:
    """By hand: rich takes as long for a table of two hundred plugins as Python for importing them."""
    widths = [max(cell_len(row[index]) for row in (columns, *rows)) for index in range(len(columns))]
    if wrap in columns:
        index = columns.index(wrap)
        widths[index] = min(widths[index], room - sum(widths) + widths[index] - 2 * len(widths) + 2)
    right = [name in numbers for name in columns]
    typer.secho(_line(columns, widths, right), bold=True)
    lines = [("─" if _takes_all_signs() else "-") * (sum(widths) + 2 * len(widths) - 2)]
    for index, row in enumerate(rows):
        if total and index == len(rows) - 1:
            lines.append("")
        cells = [_fold(cell, width) for cell, width in zip(row, widths, strict=True)]
        lines += [_line(line, widths, right) for line in zip_longest(*cells, fillvalue="")]
    typer.echo("\n".join(lines))


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for cell, width, flush in zip(cells, widths, right, strict=True):
        blanks = " " * (width - cell_len(cell))
        padded.append(blanks + cell if flush else cell + blanks)
    return "  ".join(padded).rstrip()


def _fold(text: str, width: int) -> list[str]:
    """Lines of at most so many characters, between words where that is possible."""
    if "\n" in text:
        return [line for part in text.splitlines() for line in _fold(part, width)]
    if cell_len(text) <= width:
        return [text]
    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if cell_len(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        while cell_len(word) > width:
            most = next(n for n in range(len(word), 0, -1) if n == 1 or cell_len(word[:n]) <= width)
            lines.append(word[:most])
            word = word[most:]
        line = word
    return [*lines, line]


def _blocks(room: int, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for row in rows:
        for line in _fold(row[0], room):
            typer.secho(line, bold=True)
        for name, value in zip(columns[1:], row[1:], strict=True):
            for line in _fold(f"{name}: {value}", room - 2) if value else ():
                typer.echo(f"  {line}")


def cell_len(text: str) -> int:
    """Columns of a terminal that a text takes: two for wide signs, none for those that are set above another."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(sign) else 2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def note(line: str) -> None:
    """A remark under a table."""
    typer.secho(line, dim=True)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """JSON on stdout, as UTF-8 text."""
    typer.echo(to_json(value, indent=indent))


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON that every reader takes: no NaN or infinity (null), other objects as text; escaped where stdout is no UTF-8."""
    return json.dumps(_plain(value), ensure_ascii=not _takes_all_signs(), indent=indent, allow_nan=False)


def _takes_all_signs() -> bool:
    return (sys.stdout.encoding or "utf-8").lower().startswith("utf")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(child) for child in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes>"
    return str(value)


def write_text(path: Path, text: str) -> None:
    """Write a file that the user has named."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def count(number: float) -> str:
    """``35.5 M``: three digits and a unit of the SI."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"
