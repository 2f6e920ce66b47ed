"""``python -m mmkit``: the command line."""

from mmkit.cli import main

main()
