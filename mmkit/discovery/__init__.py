"""Finding plugins: pluggy hooks behind entry points, one isolated manager a plugin. Never imports torch."""

from mmkit.discovery.hookspecs import hookimpl
from mmkit.discovery.loader import discover, plugins

__all__ = ["discover", "hookimpl", "plugins"]
