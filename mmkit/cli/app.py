"""The typer application, and what happens to errors."""

import sys
from typing import Annotated

import typer

from mmkit import __version__
from mmkit.cli.cache import cache
from mmkit.cli.explore import check, components, inspect_spec, plugins, schema
from mmkit.cli.work import evaluate, predict, train
from mmkit.errors import MmkitError, TrainingError

app = typer.Typer(
    name="mmkit",
    help="One spec, one model, any modality.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (plugins, components, check, schema, train, evaluate):
    app.command()(command)
app.command("predict", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(predict)
app.command("inspect")(inspect_spec)
app.add_typer(cache, name="cache")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"mmkit {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; user errors are printed without a traceback unless ``--debug``."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    try:
        app()
    except MmkitError as error:
        if debug:
            raise
        typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
        typer.echo(str(error), err=True)
        sys.exit(1 if isinstance(error, TrainingError) else 2)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(130)
