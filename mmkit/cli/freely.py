"""A command that takes options of any name: the columns of a row, and the options of a task."""

from typing import Any

from typer.core import TyperCommand

from mmkit.errors import MmkitError

META = "mmkit.free"


class WithColumns(TyperCommand):
    """Unknown ``--name value`` and ``--name=value`` pairs are kept in ``context.meta[META]``, wherever they stand.

    A value may begin with one dash (``--x -5``); one that begins with two is written ``--x=--y``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Set free pairs aside; typer reads the rest.

        Raises:
            MmkitError: a free option without a value, or given twice.
        """
        flags = {name: getattr(p, "is_flag", False) for p in self.params for name in (*p.opts, *p.secondary_opts)}
        flags |= dict.fromkeys(ctx.help_option_names, True)
        free: dict[str, str] = {}
        known: list[str] = []
        left = list(args)
        while left and left[0] != "--":
            argument = left.pop(0)
            name, equals, value = argument.partition("=")
            takes_next = not equals and not flags.get(name, False) and name.startswith("--")
            if ctx.resilient_parsing and takes_next and not left:
                break  # the shell asks for the completions of an unfinished line
            if name in flags or not name.startswith("--"):
                known.append(argument)
                if takes_next:
                    known += left[:1]
                    left = left[1:]
                continue
            if takes_next:
                if not left or left[0].startswith("--"):
                    if ctx.resilient_parsing:
                        continue
                    raise MmkitError(f"{name} needs a value: {name} VALUE or {name}=VALUE")
                value = left.pop(0)
            if name in free:
                raise MmkitError(f"{name} is given twice")
            free[name] = value
        ctx.meta[META] = free
        return super().parse_args(ctx, [*known, *left])
