"""The command line: one module per command group; ``outcome.py`` has the exit codes."""

from mmkit.cli.app import main

__all__ = ["main"]
