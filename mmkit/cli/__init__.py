"""The command line: one module per command group. Exit codes: 0 done, 1 a run failed, 2 wrong input."""

from mmkit.cli.app import main

__all__ = ["main"]
