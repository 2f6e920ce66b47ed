"""Commands of the feature cache: what is kept, and away with it. They import no torch."""

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

cache = typer.Typer(
    help="Features of frozen encoders and ids of codecs that are kept on disk.", invoke_without_command=True
)
FolderOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="The cache folder; default: features in $MMKIT_CACHE or ~/.cache/mmkit."),
]


@cache.callback()
def show(context: typer.Context, folder: FolderOption = None) -> None:
    """What is kept of each encoder: entries, size, last use. `mmkit cache clear` removes it."""
    from mmkit.cli.output import show as show_table
    from mmkit.data.cache.folder import default_folder, encoders, size_text

    context.obj = root = folder or default_folder()
    if context.invoked_subcommand is not None:
        return
    kept = encoders(root)
    rows = [
        (
            one.folder.name,
            f"{one.node}: {one.component} {one.version}",
            _options(one.options),
            f"{one.entries:,}",
            size_text(one.size),
            "now" if one.in_use else _date(one.used),
        )
        for one in kept
    ]
    if rows:
        columns = ("id", "encoder", "options", "entries", "size", "last use")
        show_table(columns, rows, numbers=("entries", "size"), wrap="options")
    typer.echo(f"{len(kept)} encoders, {size_text(sum(one.size for one in kept))} in {root}")


@cache.command()
def clear(
    context: typer.Context,
    names: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="[ENCODER]...", help="Ids or encoders as `mmkit cache` shows them; default: all."),
    ] = None,
) -> None:
    """Remove the features of these encoders, or of all; those in use by a running process stay."""
    from mmkit.data.cache.folder import clear as run
    from mmkit.data.cache.folder import encoders, size_text
    from mmkit.errors import MmkitError, nearest

    kept = encoders(context.obj)
    known = {label for one in kept for label in (one.folder.name, one.component)}
    for name in names or []:
        if name not in known:
            raise MmkitError(f"nothing is kept of {name!r} in {context.obj}: {nearest(name, sorted(known))}")
    chosen = [one for one in kept if not names or one.folder.name in names or one.component in names]
    freed = sum(run(one) for one in chosen if not one.in_use)
    for one in chosen:
        if one.in_use:
            typer.echo(f"{one.folder.name} is in use, it stays")
    removed = sum(not one.in_use for one in chosen)
    typer.echo(f"removed {removed} of {len(kept)} encoders, {size_text(freed)}, from {context.obj}")


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in options.items())[:60]


def _date(seconds: float) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(seconds).isoformat(" ", "minutes")
