"""Commands that start a project: a plugin, or a recipe. They import no torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from mmkit.scaffold import Made

new = typer.Typer(help="Start a plugin or a recipe.", invoke_without_command=True)
OutputOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="Its folder, new or empty; default: one of its name here.", show_default=False),
]


def _kinds(incomplete: str) -> list[str]:
    from mmkit.scaffold.plugin import KINDS

    return [kind for kind in KINDS if kind.startswith(incomplete)]


def _licences(incomplete: str) -> list[str]:
    from mmkit.scaffold.plugin import LICENCES

    return [licence for licence in LICENCES if licence.startswith(incomplete)]


@new.callback()
def _help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@new.command()
def plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the plugin and its component, for example ecg.")],
    kind: Annotated[
        str, typer.Option(help="encoder, adapter, backbone, head or codec.", autocompletion=_kinds)
    ] = "encoder",
    modality: Annotated[str, typer.Option(help="What an encoder or a codec takes; default: NAME.")] = "",
    output: OutputOption = None,
    author: Annotated[str, typer.Option(help="'Name' or 'Name <address>'.")] = "",
    licence: Annotated[
        str, typer.Option(help="Apache-2.0, BSD-3-Clause or MIT.", autocompletion=_licences)
    ] = "Apache-2.0",
) -> None:
    """A distribution mmkit-NAME with one component that works: package, tests, README, CI, licence."""
    from mmkit.scaffold import new_plugin

    _show(new_plugin(name, kind, modality=modality, output=output, author=author, licence=licence))


@new.command()
def recipe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the recipe, for example heart-beats.")],
    output: OutputOption = None,
) -> None:
    """A folder with a spec, a program that makes its data, a README for the result, and a test."""
    from mmkit.scaffold import new_recipe

    _show(new_recipe(name, output=output))


def _show(made: "Made") -> None:
    typer.echo(f"{made.what} ({len(made.files)} files)")
    typer.echo("next:")
    for command in made.commands:
        typer.echo(f"  {command}")
    typer.echo(f"yours: {made.yours}")
    for note in made.notes:
        typer.echo(f"note: {note}")
