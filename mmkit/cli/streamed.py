"""One prediction, written as it comes into being."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import typer

from mmkit.cli.output import to_json
from mmkit.cli.words import in_words

if TYPE_CHECKING:
    from mmkit.model.rendering import Files
    from mmkit.model.streaming import Piece


def write_pieces(pieces: Iterable["Piece"], files: "Files", as_json: bool) -> None:
    """Text goes on in one line; what is a file is written as soon as it is there, and its path is a line.

    Args:
        as_json: one object a piece instead: ``{"piece": …, "last": false}``.

    Raises:
        OSError: a file cannot be written.
    """
    number = files.free()
    for piece in pieces:
        value: Any = files.saved(piece.value, number if piece.replaces else None)
        if as_json:
            typer.echo(to_json({"piece": value, "last": piece.last}))
        elif isinstance(piece.value, str):
            typer.echo(value, nl=piece.last)
        elif value is not None:
            typer.echo(in_words(value))
