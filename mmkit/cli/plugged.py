"""Commands that plugins bring: listed from their records, imported when one is used."""

from collections.abc import Iterable
from typing import Any

import typer
from typer.core import TyperCommand

from mmkit.errors import PluginError
from mmkit.registry.offers import Command


def offered(taken: Iterable[str]) -> dict[str, Command]:
    """What may be typed → the record: the name, or ``plugin/name`` where it is taken or two plugins have it."""
    from mmkit.discovery import discover

    commands = discover().commands
    names = [command.name for command in commands]
    known = set(taken)
    return {
        command.name if names.count(command.name) == 1 and command.name not in known else full_name(command): command
        for command in commands
    }


def full_name(command: Command) -> str:
    """``plugin/name``."""
    return f"{command.plugin}/{command.name}"


def listed(name: str, command: Command) -> TyperCommand:
    """What the help shows of it."""
    return TyperCommand(name, help=f"{command.summary} (plugin {command.plugin})")


def opened(name: str, command: Command) -> Any:
    """The command itself.

    Raises:
        PluginError: it cannot be imported, or is nothing that typer makes a command of.
    """
    from mmkit.wiring.graph import import_path

    try:
        function = import_path(command.function)
        alone = typer.Typer(add_completion=False, context_settings={"help_option_names": ["--help", "-h"]})
        alone.command(name)(function)
        return typer.main.get_command(alone)
    except Exception as error:
        raise PluginError(
            f"command {name!r} of plugin {command.plugin!r} cannot be used: {type(error).__name__}: {error}; "
            f"it should be the function {command.function}"
        ) from error
