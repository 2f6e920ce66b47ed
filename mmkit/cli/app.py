"""The typer application, and what happens to errors."""

import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from mmkit import __version__
from mmkit.cli import plugged
from mmkit.cli.audit import audit
from mmkit.cli.cache import cache
from mmkit.cli.checking import check, inspect_spec
from mmkit.cli.conform import conform
from mmkit.cli.doctor import doctor
from mmkit.cli.evaluate import evaluate
from mmkit.cli.explain import explain
from mmkit.cli.export import bring, export
from mmkit.cli.freely import WithColumns
from mmkit.cli.listing import components, plugins, schema
from mmkit.cli.new import new
from mmkit.cli.outcome import EPILOG, INTERRUPTED, ReaderGoneError, outcome
from mmkit.cli.play import play
from mmkit.cli.predict import predict
from mmkit.cli.profile import profile
from mmkit.cli.serve import serve
from mmkit.cli.train import train
from mmkit.cli.tune import tune


class Commands(TyperGroup):
    """Has the commands of plugins too, and keeps a closed pipe apart from other errors, which typer does not."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Ours, then those of plugins."""
        own = super().list_commands(ctx)
        return [*own, *sorted(plugged.offered(own))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """For the help; a plugin is not imported for it."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        command = plugged.offered(super().list_commands(ctx)).get(cmd_name)
        return plugged.listed(cmd_name, command) if command else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is run."""
        name, command, rest = super().resolve_command(ctx, args)
        own = super().list_commands(ctx)
        if name is None or name in own:
            return name, command, rest
        return name, plugged.opened(name, plugged.offered(own)[name]), rest

    def invoke(self, ctx: Any) -> Any:
        """Run a command, and write out what it printed.

        Raises:
            ReaderGoneError: nobody reads it.
        """
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            raise ReaderGoneError from None
        return result


app = typer.Typer(
    name="mmkit",
    cls=Commands,
    help="One spec, one model, any modality.",
    epilog=EPILOG,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command()(check)
app.command()(train)
app.command()(tune)
app.command()(profile)
app.command()(evaluate)
app.command()(audit)
app.command(cls=WithColumns)(predict)
app.command()(serve)
app.command()(play)
app.command(cls=WithColumns)(explain)
app.command("inspect")(inspect_spec)
app.command()(plugins)
app.command()(components)
app.command()(schema)
app.command()(conform)
app.command()(doctor)
app.add_typer(cache, name="cache")
app.add_typer(new, name="new")
app.add_typer(export, name="export")
app.add_typer(bring, name="import")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"mmkit {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere on the line.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; errors are one message, with a traceback only under ``--debug``."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"] or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a sign is no reason to fail
    if not debug:
        _quiet_warnings()
    try:
        code = int(app(given, prog_name="mmkit", standalone_mode=False) or 0)
        if code == INTERRUPTED:  # typer has made an exit of it
            raise KeyboardInterrupt
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        if debug:
            traceback.print_exception(error)
        message, code = outcome(error)
        _complain("" if getattr(error, "quiet", False) else message)
    sys.exit(code)


def _complain(message: str) -> None:
    """Print to stderr; what stdout still holds cannot be written and is let go."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    kind, colon, rest = message.partition(":")
    if kind == "error":
        typer.secho(kind + colon, fg="red", bold=True, nl=False, err=True)
        message = rest
    if message:
        typer.echo(message, err=True)


def _quiet_warnings() -> None:
    """Warnings are one line without source code; those meant for developers are not shown."""
    of_torchao = logging.getLogger(
        "torch.utils._pytree"
    )  # says something whenever torchao, where it is installed, is imported
    of_torchao.setLevel(logging.ERROR)
    for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
        warnings.simplefilter("ignore", category)
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
