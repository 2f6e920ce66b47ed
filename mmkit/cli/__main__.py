"""``python -m mmkit.cli``."""

from mmkit.cli.app import main

main()
