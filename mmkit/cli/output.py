"""What commands print: tables that fit any terminal, and JSON for scripts. Results go to stdout, all else to stderr."""

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

NO_LIMIT = 100_000
LEAST = 28
"""Characters of a line that a text needs to be read."""


def console(stderr: bool = False) -> "Console":
    """A console as wide as the terminal; lines are never wrapped where the output goes into a file or a pipe."""
    from rich.console import Console

    file = sys.stderr if stderr else sys.stdout
    wide = None if file.isatty() or "COLUMNS" in os.environ else NO_LIMIT
    return Console(stderr=stderr, width=wide, highlight=False, markup=False, emoji=False)


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
    out, left_out = console(), list[str]()
    while (least := _least(columns, rows, wrap)) > out.width and len(left_out) < len(spare):
        left_out.append(spare[len(left_out)])
        kept = [index for index, name in enumerate(columns) if name != left_out[-1]]
        columns, rows = [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]
    if least > out.width:
        _blocks(out, columns, rows)
    else:
        _print(out, _table(columns, rows, numbers, wrap, total))
    if left_out:
        note(f"no room for: {', '.join(left_out)} (--json has everything)")


def _least(columns: Sequence[str], rows: Sequence[Sequence[str]], wrap: str) -> int:
    """Characters of a line that a table needs: its longest cells, and two blanks between them."""
    from rich.cells import cell_len

    widths = [max(cell_len(row[index]) for row in (columns, *rows)) for index in range(len(columns))]
    return (
        sum(min(w, LEAST) if name == wrap else w for name, w in zip(columns, widths, strict=True)) + 2 * len(widths) - 2
    )


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str], wrap: str, total: bool
) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in columns:
        side: Any = "right" if name in numbers else "left"
        table.add_column(name, justify=side, no_wrap=name != wrap, overflow="fold")
    for index, row in enumerate(rows):
        if total and index == len(rows) - 1:
            table.add_section()
        table.add_row(*row)
    return table


def _blocks(out: "Console", columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    for row in rows:
        _print(out, Text(row[0], style="bold", overflow="fold"))
        for name, value in zip(columns[1:], row[1:], strict=True):
            if value:
                _print(out, Padding(Text(f"{name}: {value}", overflow="fold"), (0, 0, 0, 2)))


def _print(out: "Console", what: Any) -> None:
    """Without the blanks that rich leaves at the ends of lines."""
    with out.capture() as printed:
        out.print(what)
    for line in printed.get().splitlines():
        typer.echo(line.rstrip())


def note(line: str) -> None:
    """A remark under a table."""
    typer.secho(line, dim=True)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """JSON on stdout, as UTF-8 text."""
    typer.echo(to_json(value, indent=indent))


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON that every reader takes: no NaN or infinity (null), other objects as text; escaped where stdout is no UTF-8."""
    narrow = not (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    return json.dumps(_plain(value), ensure_ascii=narrow, indent=indent, allow_nan=False)


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
